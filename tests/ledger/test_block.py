"""Blocks, votes, certificates and messages: golden bytes, one encoding each, and nothing else is taken."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.errors import Reject
from p2pfl.ledger.blocks.block import Fault, Head, cut_hash, parse_block, parse_header
from p2pfl.ledger.blocks.faults import judge, vote_fault
from p2pfl.ledger.blocks.rule import NOTHING, Kind
from p2pfl.ledger.blocks.votes import Validators, certify, parse_certificate, parse_vote, sign_vote, vote_text
from p2pfl.ledger.feeds.bounds import CUT_FEEDS_MAX, GAPS_MAX, VALIDATORS_MAX
from p2pfl.ledger.finality import talk
from p2pfl.ledger.finality.talk import Ballots, Status, Vector
from p2pfl.wire import canonical
from p2pfl.wire.keyfile import Signer

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "block.json").read_text())
NET = bytes.fromhex(VECTORS["net"])
SIGNERS = sorted((Signer(bytes.fromhex(seed)) for seed in VECTORS["seeds"]), key=lambda signer: signer.node)
VOTERS = Validators(tuple(signer.node for signer in SIGNERS))
PARSERS: dict[str, Callable[[bytes], Any]] = {
    "header": parse_header,
    "block": parse_block,
    "vote": parse_vote,
    "certificate": parse_certificate,
    "message": talk.parse,
}
WHOLE = [
    *(("block", row["raw"]) for row in VECTORS["blocks"]),
    *(("header", row["header"]) for row in VECTORS["blocks"]),
    *(("vote", row["raw"]) for row in VECTORS["votes"]),
    *(("certificate", row["raw"]) for row in VECTORS["certificates"]),
    *(("message", raw) for raw in VECTORS["messages"].values()),
]


def test_the_hashes_are_those_of_the_vectors() -> None:
    assert VOTERS.hash.hex() == VECTORS["validators"]["hash"]
    for row in VECTORS["blocks"]:
        block = parse_block(bytes.fromhex(row["raw"]))
        assert (block.hash.hex(), block.header.raw.hex()) == (row["hash"], row["header"])
        assert (block.header.cut_hash.hex(), cut_hash(block.cut).hex()) == (row["cut_hash"], row["cut_hash"])


def test_what_is_parsed_packs_to_the_same_bytes() -> None:
    for kind, raw in WHOLE:
        assert PARSERS[kind](bytes.fromhex(raw)).raw.hex() == raw


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda v: v["what"])
def test_what_is_not_exactly_so_is_refused(vector: dict[str, str]) -> None:
    with pytest.raises(Reject):
        PARSERS[vector["kind"]](bytes.fromhex(vector["raw"]))


@settings(max_examples=150)
@given(st.sampled_from(WHOLE), st.data())
def test_damaged_bytes_raise_reject_and_nothing_else(whole: tuple[str, str], data: st.DataObject) -> None:
    kind, raw = whole[0], bytearray.fromhex(whole[1])
    at = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw[at] ^= data.draw(st.integers(1, 255))
    else:
        del raw[at:]
    try:
        parsed = PARSERS[kind](bytes(raw))
    except Reject:
        return
    assert parsed.raw == bytes(raw)


def test_a_vote_is_of_one_network_kind_view_and_author() -> None:
    for row in VECTORS["votes"]:
        vote = parse_vote(bytes.fromhex(row["raw"]))
        assert vote_text(NET, vote.kind, vote.epoch, vote.view, vote.block).hex() == row["text"]
        assert vote.is_signed(NET)
        assert not vote.is_signed(bytes(32))
        others = [
            replace(vote, epoch=1),
            replace(vote, view=vote.view + 1),
            replace(vote, block=bytes([9]) * 32),
            replace(vote, author=NodeId(bytes(32))),
            replace(vote, kind=Kind((vote.kind + 1) % 3)),
        ]
        assert not any(other.is_signed(NET) for other in others)


def test_a_certificate_is_a_quorum_of_this_epoch() -> None:
    votes = [sign_vote(signer, NET, Kind.FINALIZE, 0, 5, bytes([1]) * 32) for signer in SIGNERS]
    good = certify(votes[1:], VOTERS)
    good.check(NET, VOTERS, VOTERS.quorum)
    assert good.votes(VOTERS) == votes[1:]
    with pytest.raises(Reject, match="expected 3 of 4 votes, got 2"):
        certify(votes[:2], VOTERS).check(NET, VOTERS, VOTERS.quorum)
    for bad in (
        replace(good, view=6),
        replace(good, bitmap=VOTERS.bits(VOTERS.keys[:3])),
        replace(good, bitmap=b"\xff"),
        replace(good, bitmap=b"\x0e\x00"),
        replace(good, signatures=good.signatures[:-64]),
        replace(good, signatures=good.signatures[:-1] + bytes([good.signatures[-1] ^ 1])),
    ):
        with pytest.raises(Reject):
            bad.check(NET, VOTERS, VOTERS.quorum)
    with pytest.raises(Reject):
        good.check(bytes(32), VOTERS, VOTERS.quorum)


@settings(max_examples=30)
@given(st.integers(1, VALIDATORS_MAX), st.randoms())
def test_a_bitmap_names_whom_it_was_made_of(n: int, random: Any) -> None:
    voters = Validators(tuple(NodeId(i.to_bytes(32, "big")) for i in range(n)))
    some = sorted(random.sample(voters.keys, random.randrange(n + 1)))
    assert voters.of_bits(voters.bits(some)) == some


def test_each_leads_in_turn() -> None:
    assert {VOTERS.leader(0, view) for view in range(1, 5)} == set(VOTERS.keys)
    assert VOTERS.leader(3, 1) == VOTERS.leader(0, 4)


def test_bounds_of_messages() -> None:
    status = Status(0, 1, 0, 0, (b"", b"", b""), (), tuple(range(GAPS_MAX)))
    assert talk.parse(status.raw) == status
    with pytest.raises(Reject, match="gaps"):
        talk.parse(replace(status, gaps=tuple(range(GAPS_MAX + 1))).raw)
    vote = sign_vote(SIGNERS[0], NET, Kind.NULLIFY, 0, 1, NOTHING)
    assert len(talk.parse(Ballots((vote,) * (3 * VALIDATORS_MAX)).raw).votes) == 384  # type: ignore[union-attr]
    with pytest.raises(Reject, match="votes"):
        talk.parse(Ballots((vote,) * (3 * VALIDATORS_MAX + 1)).raw)
    rows = tuple(talk.Row(Head(NodeId(bytes(32)), i, 0, bytes(32)), False) for i in range(CUT_FEEDS_MAX + 1))
    assert talk.parse(Vector(rows[:-1]).raw)
    with pytest.raises(Reject, match="vector"):
        talk.parse(Vector(rows).raw)
    with pytest.raises(Reject, match="ascending"):
        talk.parse(Vector(rows[1::-1]).raw)
    with pytest.raises(ValueError, match="1 to 128"):
        Validators(tuple(NodeId(i.to_bytes(32, "big")) for i in range(VALIDATORS_MAX + 1)))


def test_two_votes_convict_only_whom_they_should() -> None:
    signer, block, other = SIGNERS[0], bytes([1]) * 32, bytes([2]) * 32

    def vote(kind: Kind, hash_: bytes, view: int = 4, net: bytes = NET, who: Signer = signer) -> Any:
        return sign_vote(who, net, kind, 0, view, hash_)

    guilty = [
        (vote(Kind.NOTARIZE, block), vote(Kind.NOTARIZE, other)),
        (vote(Kind.FINALIZE, block), vote(Kind.FINALIZE, other)),
        (vote(Kind.NULLIFY, NOTHING), vote(Kind.FINALIZE, block)),
    ]
    for one, two in guilty:
        assert judge(vote_fault(one, two), NET) == judge(vote_fault(two, one), NET)
        assert judge(vote_fault(one, two), NET).author == signer.node
        with pytest.raises(Reject):
            judge(vote_fault(one, two), bytes(32))
    innocent = [
        (vote(Kind.NOTARIZE, block), vote(Kind.FINALIZE, other)),
        (vote(Kind.NOTARIZE, block), vote(Kind.NULLIFY, NOTHING)),
        (vote(Kind.NOTARIZE, block), vote(Kind.NOTARIZE, other, view=5)),
        (vote(Kind.NOTARIZE, block), vote(Kind.NOTARIZE, other, who=SIGNERS[1])),
        (vote(Kind.NOTARIZE, block), vote(Kind.NOTARIZE, other, net=bytes(32))),
    ]
    for one, two in innocent:
        with pytest.raises(Reject):
            judge(vote_fault(one, two), NET)
    fault = vote_fault(*guilty[0])
    with pytest.raises(Reject):
        judge(Fault(fault.kind, fault.second, fault.first), NET)
    with pytest.raises(Reject):
        judge(Fault(0, fault.first, fault.second), NET)


def test_a_list_of_nothing_is_no_message() -> None:
    for raw in (b"", canonical.packb(7), canonical.packb([1]), canonical.packb([1, -1])):
        with pytest.raises(Reject):
            talk.parse(raw)
