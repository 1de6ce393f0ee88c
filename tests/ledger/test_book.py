"""The book of feeds: grows by what follows, keeps the first at each position, and every fork as evidence."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import BrokenChain, Reject
from p2pfl.ledger.blocks.cut import head_of
from p2pfl.ledger.feeds.bounds import BLOCK_ENTRIES_MAX, PARKED_MAX
from p2pfl.ledger.feeds.entry import Entry, parse
from p2pfl.ledger.feeds.evidence import convict
from p2pfl.ledger.feeds.feed import append, feed_from
from p2pfl.ledger.feeds.kinds import ModelDigest
from p2pfl.ledger.finality import book as books
from p2pfl.ledger.finality.book import Book
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.wire import canonical


def branch(world: Any, entries: list[Entry], at: int, length: int = 3) -> list[Entry]:
    """Another branch of alice's feed from position `at` on."""
    feed, made = feed_from(entries[:at]), []
    for i in range(length):
        feed, entry = append(feed, world.alice, 50 + i, "model", ModelDigest(bytes(32), 0))
        made.append(entry)
    return made


def filled(world: Any, entries: list[Entry]) -> Book:
    book = Book(world.net)
    for entry in entries:
        book.add(entry)
    return book


def unlimited(author: Any, incarnation: int) -> None:
    return None


@settings(max_examples=25)
@given(order=st.permutations(range(8)))
def test_any_order_of_arrival_gives_the_same_book(world: Any, order: list[int]) -> None:
    entries = world.story(windows=3)
    book = filled(world, [entries[i] for i in order])
    assert book.tip((world.alice.node, 0)) == head_of(entries[-1])
    assert book.pending({}, unlimited) == {(world.alice.node, 0): entries}
    assert not book.missing()


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), at=st.integers(1, 7))
def test_a_fork_is_found_in_any_order_and_ends_the_feed(world: Any, seed: int, at: int) -> None:
    entries = world.story(windows=3)
    mixed = [*entries, *branch(world, entries, at)]
    Random(seed).shuffle(mixed)
    book = filled(world, mixed)
    fork = book.forks[(world.alice.node, 0)]
    assert convict(fork.evidence) == world.alice.node
    assert fork.seq == at
    pending = book.pending({}, unlimited).get((world.alice.node, 0), [])
    assert pending == entries[: len(pending)]
    assert len(pending) <= at


def test_the_first_is_never_replaced_and_the_proof_is_kept(world: Any) -> None:
    entries = world.story(windows=2)
    other = branch(world, entries, 3)
    book = filled(world, entries)
    news = book.add(other[0])
    assert [fork.seq for fork in news.forks] == [3]
    assert book.get(entries[3].id) is not None
    assert book.get(other[0].id) is not None  # half of the proof
    assert not book.add(other[1])  # of what follows a fork, nothing
    store = MemoryStore()
    for entry in entries:
        store.commit(Book(world.net).add(entry).puts or [books.put_entry(entry)])
    store.commit(news.puts)
    again = Book(world.net)
    again.restore(store.load())
    assert again.forks == book.forks
    assert again.tips() == book.tips()
    assert again.get(other[0].id) == other[0]


def test_a_branch_that_a_quorum_vouches_for_is_taken_in(world: Any) -> None:
    entries = world.story(windows=2)
    other = branch(world, entries, 3)
    book = filled(world, entries)
    head, base = head_of(other[-1]), head_of(entries[1])
    assert book.chain(head, base) is None
    book.expect([head])
    assert head in book.missing()
    for entry in reversed(other):
        book.add(entry)
    assert book.chain(head, base) == [entries[2], *other]
    assert book.tip((world.alice.node, 0)) == head_of(entries[-1])
    book.settle({head.feed: head})
    assert not book.missing()


def test_evidence_alone_freezes_a_feed(world: Any) -> None:
    entries = world.story(windows=2)
    full = filled(world, [*entries, *branch(world, entries, 3)])
    book = filled(world, entries[:2])
    news = book.add_evidence(full.forks[(world.alice.node, 0)].evidence)
    assert news.forks
    for entry in entries:
        book.add(entry)
    assert book.pending({}, unlimited) == {(world.alice.node, 0): entries[:3]}


@pytest.mark.parametrize("what", ["network", "signature"])
def test_what_is_not_the_authors_is_refused(world: Any, what: str) -> None:
    entry = world.story()[0]
    book = Book(bytes(32) if what == "network" else world.net)
    if what == "signature":
        entry = parse(canonical.packb([entry.body, bytes(64)]))
    with pytest.raises(Reject, match=what):
        book.add(entry)


def test_a_chain_that_does_not_extend_the_base_is_refused(world: Any) -> None:
    entries = world.story(windows=2)
    other = branch(world, entries, 2)
    book = filled(world, entries)
    for base in (entries[-1], other[0]):
        with pytest.raises(Reject):
            book.chain(head_of(entries[-1]), head_of(base))
    with pytest.raises(Reject, match="where the cut says"):
        book.chain(head_of(entries[-1])._replace(seq=3), None)
    far = head_of(entries[-1])._replace(seq=BLOCK_ENTRIES_MAX)
    with pytest.raises(Reject, match="expected 1 to"):
        book.chain(far, None)


def test_as_many_are_parked_as_the_bound_says(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = world.story(windows=4)
    assert PARKED_MAX > 8
    monkeypatch.setattr(books, "PARKED_MAX", 8)
    book = filled(world, entries[2:])  # 8 of them
    book.add(entries[0])
    book.add(entries[1])
    assert book.tip((world.alice.node, 0)) == head_of(entries[-1])
    monkeypatch.setattr(books, "PARKED_MAX", 7)
    book = filled(world, entries[2:])
    book.add(entries[0])
    book.add(entries[1])
    assert book.tip((world.alice.node, 0)) == head_of(entries[1])  # the oldest was dropped; sync brings it again


def test_what_is_final_can_leave_the_memory(world: Any) -> None:
    entries = world.story(windows=4)
    book = filled(world, entries)
    feed = (world.alice.node, 0)
    book.trim({feed: head_of(entries[6])}, keep=2)
    assert book.first_seq(feed) == 5
    assert book.stretch(feed, 2, 99) == entries[5:]
    assert book.chain(head_of(entries[-1]), head_of(entries[6])) == entries[7:]
    started = Book(world.net, {feed: head_of(entries[4])})
    for entry in entries[5:]:
        started.add(entry)
    assert started.pending({feed: head_of(entries[4])}, unlimited) == {feed: entries[5:]}


def test_a_store_that_no_book_wrote_is_refused(world: Any) -> None:
    entries = world.story(windows=2)
    for spaces in ({"entry": {b"k": b"junk"}}, {"fork": {bytes(36): b"junk"}}, {"entry": {b"k": entries[1].raw}}):
        with pytest.raises(BrokenChain):
            Book(world.net).restore(spaces)
