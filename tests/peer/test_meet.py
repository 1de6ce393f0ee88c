"""Neighbours change while the node runs: the ledger's words go to those who are there."""

from p2pfl.core.ids import NodeId
from p2pfl.peer.outbox import DELAY_S, GIVE_UP, Outbox, unpack
from p2pfl.peer.relay import Relay

A, B, C = (NodeId(bytes([n]) * 32) for n in (1, 2, 3))


def test_what_waits_for_who_left_is_dropped_and_who_came_is_told() -> None:
    outbox = Outbox([A, B])
    outbox.put(b"old", 0.0, None)
    assert {to for to, _ in outbox.next_parcels(DELAY_S)} == {A, B}
    outbox.meet([B, C])
    outbox.delivered(A, 1.0)
    outbox.failed(A, 1.0)
    outbox.delivered(B, 1.0)
    outbox.put(b"new", 1.0, None)
    parcels = dict(outbox.next_parcels(1.0 + DELAY_S))
    assert parcels.keys() == {B, C}
    assert unpack(parcels[C])[0] == [b"new"]


def test_who_stays_is_known_as_before() -> None:
    outbox = Outbox([A, B])
    for _ in range(GIVE_UP):
        outbox.put(b"x", 0.0, B)
        outbox.next_parcels(100.0)
        outbox.failed(B, 0.0)
    outbox.meet([B, C])
    assert outbox.away() == {B}


def test_for_a_new_neighbour_everything_is_passed_on() -> None:
    relay = Relay(A, [B], {B: [A, C]})
    assert relay.targets([C], None, 1) == []
    relay.meet([B, C], {B: [A, C]})
    assert relay.targets([B], None, 1) == [C]
