"""The table of edge.py, row by row, and the few moves of an edge."""

from dataclasses import replace
from math import inf
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.records.edge import NOTHING, Edge, Opening, Place, Saying, has_next, next_epoch, said_of
from p2pfl.mixing.reference import Reference
from p2pfl.wire.envelope import chunk_digests
from p2pfl.wire.messages import Section, Snapshot, Update

PEER = NodeId(bytes([9]) * 32)
REFERENCE = Reference(torch.zeros(4, dtype=torch.int32), (-20,))
DIGEST = REFERENCE.digest()
OTHER = bytes([7]) * 32
HEARD, NEW = b"what it said before", b"what it says now"
EPOCH, SEQ = 5 << 31, 4


def update(epoch: int = EPOCH, seq: int = SEQ, reference: bytes = DIGEST) -> Update:
    return Update(
        recipe=bytes(32),
        to=PEER,
        epoch=epoch,
        seq=seq,
        averages=(1.0, 1.0, 0.0, 10),
        reference=reference,
        answer=False,
        receipt=NOTHING,
        norm=1.0,
        reach=inf,
        work=0.1,
        phase=0.2,
        tau=inf,
        damp=1.0,
        sections=(Section((1, 0, 0), 3),),
    )


def saying(body: bytes = b"abc", seq: int = SEQ) -> Saying:
    message = update(seq=seq)
    return Saying(message, body, chunk_digests((body,)), said_of(message, torch.zeros(4)))


def edge(**state: Any) -> Edge:
    """An edge at (EPOCH, SEQ) which has applied HEARD at the position before."""
    heard = saying(HEARD).digest
    made = Edge(PEER, REFERENCE, DIGEST, epoch=EPOCH, seq=SEQ, last=saying(seq=SEQ - 1), last_heard=heard)
    for name, value in state.items():
        setattr(made, name, value)
    return made


asking = {"pending": saying(), "requested": True}


@pytest.mark.parametrize(
    ("row", "said", "body", "state", "place"),
    [
        ("epoch later than mine", update(EPOCH + 1, 0), NEW, {}, Place.RENEW),
        ("the same, while I ask", update(EPOCH + 1, SEQ), NEW, asking, Place.RENEW),
        ("epoch earlier than mine", update(EPOCH - 1, SEQ), NEW, {}, Place.BEHIND),
        ("epoch earlier, seq later", update(EPOCH - 1, SEQ + 9), NEW, {}, Place.BEHIND),
        ("seq mine, same reference", update(), NEW, {}, Place.APPLY),
        ("the same, crossing", update(), NEW, asking, Place.APPLY),
        ("seq mine, other reference", update(reference=OTHER), NEW, {}, Place.RENEW),
        ("seq mine - 1, the q I applied", update(seq=SEQ - 1, reference=OTHER), HEARD, {}, Place.REPEAT),
        ("the same, while I ask", update(seq=SEQ - 1, reference=OTHER), HEARD, asking, Place.REPEAT),
        ("seq mine - 1, another q", update(seq=SEQ - 1), NEW, {}, Place.RENEW),
        ("seq mine - 1, and nothing known of it", update(seq=SEQ - 1), HEARD, {"last": None}, Place.RENEW),
        ("seq earlier", update(seq=SEQ - 2), HEARD, {}, Place.BEHIND),
        ("seq mine + 1, my request is out", update(seq=SEQ + 1, reference=OTHER), NEW, asking, Place.WAIT),
        ("seq mine + 1, I said nothing", update(seq=SEQ + 1), NEW, {}, Place.RENEW),
        ("seq mine + 1, said but not sent", update(seq=SEQ + 1), NEW, {"pending": saying()}, Place.RENEW),
        ("seq later", update(seq=SEQ + 2), NEW, asking, Place.RENEW),
    ],
)
def test_a_row_of_the_table(row: str, said: Update, body: bytes, state: dict[str, Any], place: Place) -> None:
    assert edge(**state).place(said, chunk_digests((body,))) is place


def test_what_was_said_is_not_replaced() -> None:
    one = edge()
    one.say(saying())
    with pytest.raises(AssertionError):
        one.say(saying(b"xyz"))


def test_a_step_moves_the_edge_and_keeps_what_was_said() -> None:
    one = edge(**asking, opening=Opening(Snapshot(bytes(32), PEER, EPOCH, (1,), ()), b"", b""))
    mine = one.pending
    one.step(REFERENCE, OTHER, b"h" * 32)
    assert (one.seq, one.exchanges, one.digest, one.last, one.last_heard) == (SEQ + 1, 1, OTHER, mine, b"h" * 32)
    assert (one.pending, one.requested, one.opening) == (None, False, None)


def test_a_new_epoch_voids_what_was_said_in_the_old_one() -> None:
    one = edge(**asking)
    one.renew(EPOCH + 1, REFERENCE, OTHER, None)
    assert (one.epoch, one.seq, one.pending, one.requested) == (EPOCH + 1, 0, None, False)
    assert (one.last, one.last_heard) == (None, NOTHING)
    with pytest.raises(AssertionError):
        one.renew(EPOCH + 1, REFERENCE, OTHER, None)


def test_no_late_copy_asks_for_an_epoch() -> None:
    """Whatever was once said on the edge and applied comes again at any later time: nothing is concluded from it."""
    one = edge()
    for seq in range(SEQ):
        body = HEARD if seq == SEQ - 1 else NEW
        assert one.place(update(seq=seq, reference=OTHER), chunk_digests((body,))) in (Place.REPEAT, Place.BEHIND)
    assert one.place(replace(update(), epoch=0), chunk_digests((NEW,))) is Place.BEHIND


U63 = (1 << 63) - 1


@given(st.lists(st.integers(0, U63), min_size=1, max_size=3), st.binary(min_size=32, max_size=32))
def test_the_next_epoch_is_later_and_fits_the_wire(known: list[int], entropy: bytes) -> None:
    if has_next(*known):
        assert max(known) < next_epoch(*known, entropy=entropy) <= U63


def test_epochs_end_where_the_wire_does() -> None:
    assert has_next((((1 << 32) - 1) << 31) - 1)
    assert not has_next(((1 << 32) - 1) << 31)
    assert not has_next(0, U63)


def test_an_epoch_begun_twice_has_two_names() -> None:
    assert next_epoch(7, entropy=bytes(32)) != next_epoch(7, entropy=bytes([9]) * 32)


def test_only_a_fresh_epoch_ends_a_cut() -> None:
    """What the drift corrections hold of an edge that one end has given up is not the other's opposite any more."""
    one = edge(**asking)
    one.cut = True
    assert one.place(update(), chunk_digests((NEW,))) is Place.RENEW
    one.renew(EPOCH + 1, REFERENCE, OTHER, None)
    assert one.cut
    one.renew(EPOCH + 2, REFERENCE, OTHER, None, fresh=True)
    assert not one.cut
    assert one.fresh
