"""Checkpoints are one text, signed by several; what is not exactly such a text is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import Reject
from p2pfl.ledger.blocks.checkpoint import Checkpoint, Signed, cosign, cosignatures_needed, parse_checkpoint
from p2pfl.wire.keyfile import Signer

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "checkpoint.json").read_text())
ALICE, BOB = Signer(b"\1" * 32), Signer(b"\2" * 32)
POINT = Checkpoint(bytes(range(32)), 12, b"\x11" * 32)
SIGNED = Signed(POINT, (cosign(ALICE, POINT, 5_000), cosign(BOB, POINT, 6_999)))


def test_a_note_comes_back() -> None:
    assert parse_checkpoint(SIGNED.note) == SIGNED
    assert parse_checkpoint(Signed(POINT).note) == Signed(POINT)


def test_only_good_signatures_of_those_who_are_asked_count() -> None:
    assert SIGNED.signers({ALICE.node, BOB.node}) == {ALICE.node, BOB.node}
    assert SIGNED.signers({BOB.node}) == {BOB.node}
    moved = Signed(Checkpoint(POINT.net, 13, POINT.root), SIGNED.cosignatures)
    assert moved.signers({ALICE.node, BOB.node}) == set()


def test_lines_of_other_keys_are_kept_and_not_counted() -> None:
    foreign = "— witness.example/w1 AAAAAAAAAAAA\n".encode()
    note = SIGNED.note + foreign
    parsed = parse_checkpoint(note)
    assert (parsed.foreign, parsed.note) == ((foreign,), note)
    assert parsed.signers({ALICE.node}) == {ALICE.node}


def test_two_copies_are_merged_to_one_signature_each() -> None:
    one = Signed(POINT, (SIGNED.cosignatures[0],))
    other = Signed(POINT, (cosign(ALICE, POINT, 9_000), SIGNED.cosignatures[1]))
    merged = one.merged(other)
    assert {(c.validator, c.time_s) for c in merged.cosignatures} == {(ALICE.node, 5), (BOB.node, 6)}
    assert merged == other.merged(one)


@pytest.mark.parametrize(("n", "needed"), [(1, 1), (2, 1), (3, 1), (4, 2), (6, 2), (7, 3), (16, 6)])
def test_one_more_than_may_lie(n: int, needed: int) -> None:
    assert cosignatures_needed(n) == needed


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(SIGNED.note) - 1), mask=st.integers(1, 255))
def test_a_changed_byte_is_another_checkpoint_or_none(at: int, mask: int) -> None:
    note = bytearray(SIGNED.note)
    note[at] ^= mask
    try:
        parsed = parse_checkpoint(bytes(note))
    except Reject:
        return
    assert parsed != SIGNED
    assert sorted(parsed.note.splitlines()) == sorted(bytes(note).splitlines())
    assert len(parsed.signers({ALICE.node, BOB.node})) < 2


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["name"])
def test_what_is_no_checkpoint_is_refused(case: dict[str, str]) -> None:
    with pytest.raises(Reject):
        parse_checkpoint(case["note"].encode())


def test_the_vectors_hold() -> None:
    for case in VECTORS["checkpoints"]:
        signed = parse_checkpoint(case["note"].encode())
        point = signed.checkpoint
        assert (point.net.hex(), point.size, point.root.hex()) == (case["network"], case["size"], case["root"])
        made = [cosign(Signer(bytes.fromhex(row["seed"])), point, row["time_s"] * 1000) for row in case["cosignatures"]]
        assert Signed(point, tuple(made)).note.decode() == case["note"]
        assert len(signed.signers({c.validator for c in made})) == len(made)
