"""Everybody gets everybody's words, and where all are near few get them twice."""

from collections import Counter

import pytest

from p2pfl.core.ids import NodeId
from p2pfl.peer.relay import Relay
from p2pfl.topology import FAMILIES

GRAPHS = [
    ("ring", 7),
    ("line", 5),
    ("star", 6),
    ("exponential", 8),
    ("exponential", 16),
    ("complete", 5),
    ("torus", 16),
]


def spread(family: str, size: int, author: int, copies: int, down: int | None = None) -> Counter[str]:
    """How often each node gets what the author signed once, if all pass on what is new to them."""
    topology = FAMILIES[family](size)
    ids = {name: NodeId(index.to_bytes(32, "big")) for index, name in enumerate(topology.nodes)}
    names = {id_: name for name, id_ in ids.items()}
    beside = {ids[name]: [ids[other] for other in topology.neighbours(name)] for name in topology.nodes}
    relays = {me: Relay(me, near, {peer: beside[peer] for peer in near}) for me, near in beside.items()}
    source = ids[topology.nodes[author]]
    got: Counter[str] = Counter()
    queue = [(source, to) for to in beside[source]]
    while queue:
        sender, me = queue.pop(0)
        if down is not None and names[me] == topology.nodes[down]:
            continue
        got[names[me]] += 1
        if got[names[me]] == 1 and me != source:
            queue += [(me, to) for to in relays[me].targets((source,), sender, copies)]
    got.pop(names[source], None)
    return got


@pytest.mark.parametrize(("family", "size"), GRAPHS)
@pytest.mark.parametrize("copies", [1, 2])
def test_everybody_gets_it(family: str, size: int, copies: int) -> None:
    for author in range(size):
        assert len(spread(family, size, author, copies)) == size - 1


def test_where_nobody_is_far_everybody_gets_it_once() -> None:
    for author in range(8):
        assert set(spread("exponential", 8, author, 1).values()) == {1}
        assert set(spread("exponential", 8, author, 2).values()) == {1, 2}


def test_with_two_copies_one_relay_may_be_down() -> None:
    for author in range(8):
        for down in range(8):
            if down != author:
                assert len(spread("exponential", 8, author, 2, down)) == 6


def test_who_is_away_is_replaced_by_those_who_know() -> None:
    me, author, relay, peer = (NodeId(bytes([number]) * 32) for number in range(4))
    for one, other in ((me, relay), (relay, me)):
        made = Relay(one, [author, other, peer], {author: [me, relay], other: [author, peer], peer: [me, relay]})
        before = made.targets((author,), author, 1)
        made.without(frozenset([other]))
        assert made.targets((author,), author, 1) == [peer], "one of the two did, now each that sees the other away"
        made.without(frozenset())
        assert made.targets((author,), author, 1) == before


def test_who_knows_nothing_of_the_others_tells_all() -> None:
    me, *others = (NodeId(bytes([number]) * 32) for number in range(4))
    relay = Relay(me, others, {})
    assert relay.targets((others[0],), others[0], 1) == others[1:]
    assert relay.targets((), others[2], 1) == others[:2]
