"""Cuts: a causal order that depends on the cut alone, and shares of a block that nobody can take for himself."""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.ledger.blocks.cut import advance, choose, entries_of, head_of, order
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import FORMAT, ModelDigest, Opening
from p2pfl.wire.keyfile import Signer

NET = bytes(32)
SIGNERS = [Signer(bytes([i]) * 32) for i in range(1, 5)]


def feeds(lengths: list[int], seed: int = 0) -> dict[Any, list[Entry]]:
    """Feeds of these lengths; every entry refers to some that were there before it."""
    random, all_, made = Random(seed), [], {}
    heads = {signer.node: Feed(NET, signer.node) for signer in SIGNERS}
    todo = [signer for signer, length in zip(SIGNERS, lengths, strict=False) for _ in range(length)]
    random.shuffle(todo)
    for signer in todo:
        feed = heads[signer.node]
        refs = [entry.id for entry in random.sample(all_, min(2, len(all_)))]
        payload = Opening(FORMAT, bytes(32)) if feed.last is None else ModelDigest(bytes(32), 0)
        kind = "feed.open" if feed.last is None else "model"
        heads[signer.node], entry = append(feed, signer, 0, kind, payload, refs)
        all_.append(entry)
        made.setdefault((signer.node, 0), []).append(entry)
    return made


@settings(max_examples=40)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=4), st.integers(0, 99), st.randoms())
def test_the_order_is_causal_and_does_not_depend_on_how_it_is_given(lengths: list[int], seed: int, random: Any) -> None:
    made = feeds(lengths, seed)
    placed = order(made.values())
    assert sorted(e.id for e in placed) == sorted(e.id for chain in made.values() for e in chain)
    before: set[bytes] = set()
    inside = {entry.id for entry in placed}
    for entry in placed:
        assert {p for p in (entry.prev, *entry.refs) if p in inside} <= before
        before.add(entry.id)
    shuffled = list(made.values())
    random.shuffle(shuffled)
    assert order(shuffled) == placed


@settings(max_examples=40)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 99), st.integers(1, 12))
def test_what_is_chosen_is_ordered_alike_by_who_checks_it(lengths: list[int], seed: int, room: int) -> None:
    made = feeds(lengths, seed)
    by_id = {entry.id: entry for chain in made.values() for entry in chain}
    cut, placed = choose(made, room)
    assert 0 < len(placed) <= room

    def chain(head: Any, base: Any) -> list[Entry]:
        return [entry for entry in made[head.feed] if entry.seq <= head.seq and (not base or entry.seq > base.seq)]

    assert entries_of(cut, {}, chain) == placed
    assert advance({}, cut) == {(e.author, 0): head_of(e) for e in placed}
    assert all(by_id[head.id].seq == head.seq for head in cut)


def test_a_reference_to_something_outside_delays_nothing() -> None:
    _, first = append(Feed(NET, SIGNERS[0].node), SIGNERS[0], 0, "feed.open", Opening(FORMAT, bytes(32)), [b"x" * 32])
    assert choose({(first.author, 0): [first]})[1] == [first]


def test_who_writes_much_keeps_nobody_out() -> None:
    made = feeds([30, 2, 2])
    _, placed = choose(made, 9)
    by_author = [sum(1 for entry in placed if entry.author == signer.node) for signer in SIGNERS[:3]]
    assert by_author == [3, 2, 2]


def test_some_entries_are_not_here() -> None:
    made = feeds([3, 2])
    cut, _ = choose(made)
    assert entries_of(cut, {}, lambda head, base: None) is None


def test_a_cut_of_nothing_has_no_entries() -> None:
    assert choose({}) == ((), [])
    assert entries_of((), {}, lambda head, base: None) == []
