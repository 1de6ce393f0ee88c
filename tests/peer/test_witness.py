"""Checkpoints gather signatures, and a shelf what neighbours may lack."""

from typing import Any

import pytest

from p2pfl.errors import Reject
from p2pfl.ledger.blocks.checkpoint import Checkpoint, Signed, cosign, parse_checkpoint
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import FORMAT, Opening
from p2pfl.ledger.feeds.records import put_entry
from p2pfl.ledger.finality.talk import Entries
from p2pfl.peer.shelf import Shelf
from p2pfl.peer.witness import AHEAD_MAX, Witness
from p2pfl.wire.keyfile import Signer

SIGNERS = sorted((Signer(bytes([number]) * 32) for number in (1, 2, 3, 4)), key=lambda signer: signer.node)
KEYS = tuple(signer.node for signer in SIGNERS)


def test_a_witness_gathers_good_signatures_of_the_right_validators() -> None:
    net, voters = bytes(32), frozenset(KEYS)
    point, other = Checkpoint(net, 9, bytes(32)), Checkpoint(net, 9, bytes([1]) * 32)
    witness = Witness(SIGNERS[0], net)
    early = Signed(point, (cosign(SIGNERS[1], point, 5000),))
    assert witness.told(early.note) == (None, None), "not final here yet"
    put, note = witness.final(3, point, voters, 5000)
    assert note is None, "with that one it is enough"
    assert put.value is not None
    assert {one.validator for one in parse_checkpoint(put.value).cosignatures} == set(KEYS[:2])
    assert witness.last is not None
    assert witness.last.signers == {KEYS[0], KEYS[1]}
    assert witness.told(early.note) == (None, None), "enough is enough"
    with pytest.raises(Reject, match="another root"):
        witness.told(Signed(other, (cosign(SIGNERS[1], other, 5000),)).note)
    with pytest.raises(Reject, match="another network"):
        witness.told(Signed(Checkpoint(bytes([1]) * 32, 9, bytes(32))).note)
    for size in range(10, 10 + 2 * AHEAD_MAX):
        witness.told(Signed(Checkpoint(net, size, bytes(32))).note)
    assert len(witness._ahead) == AHEAD_MAX


def test_a_witness_counts_no_strangers_and_no_forgeries() -> None:
    net, point = bytes(32), Checkpoint(bytes(32), 9, bytes(32))
    witness = Witness(SIGNERS[0], net)
    witness.final(3, point, frozenset(KEYS[:2] + KEYS[3:]), 5000)
    good = cosign(SIGNERS[1], point, 5000)
    forged = type(good)(KEYS[3], good.time_s, good.signature)
    witness.told(Signed(point, (forged, cosign(SIGNERS[2], point, 5000))).note)
    assert witness.last is not None
    assert witness.last.signers == {KEYS[0]}


def test_a_shelf_keeps_the_newest() -> None:
    feed, shelf = Feed(bytes(32), KEYS[0]), Shelf(bytes_max=600)
    entries = []
    for number in range(8):
        payload: Any = Opening(FORMAT, bytes(32)) if number == 0 else [bytes([number]) * 32, 0]
        feed, entry = append(feed, SIGNERS[0], 0, "model" if number else "feed.open", payload)
        entries.append(entry)
        shelf.take([put_entry(entry)])
    head = type("Head", (), {"author": KEYS[0], "incarnation": 0, "seq": 7})()
    assert shelf.entries(head, -1) == []
    (found,) = shelf.entries(head, 6)
    assert isinstance(found, Entries)
    assert found.entries == (entries[7].raw,)
    assert shelf.finals(1) == []


def test_at_each_height_a_few_speak_and_the_others_if_that_was_not_enough() -> None:
    net, voters = bytes(32), frozenset(KEYS)
    for height in range(1, 9):
        point = Checkpoint(net, height, bytes(32))
        witnesses = [Witness(signer, net) for signer in SIGNERS]
        notes = [witness.final(height, point, voters, 5000)[1] for witness in witnesses]
        spoken = [note for note in notes if note is not None]
        assert len(spoken) == 3, "one more than the f + 1 = 2 that a proof needs"
        silent = witnesses[notes.index(None)]
        asked = silent.unfinished()
        assert asked is not None
        assert len(parse_checkpoint(asked).cosignatures) == 1
        silent.told(spoken[0])
        assert silent.unfinished() is None
