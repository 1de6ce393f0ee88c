"""Anti-entropy: whatever each node starts with, talking makes their books the same, within bounds, forks first."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.errors import Reject
from p2pfl.ledger.feeds.bounds import ENTRIES_SENT_MAX
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.feed import Feed, append, feed_from
from p2pfl.ledger.feeds.kinds import FORMAT, ModelDigest, Opening
from p2pfl.ledger.finality import sync as syncs
from p2pfl.ledger.finality.book import Book
from p2pfl.ledger.finality.effects import LedgerEffect, ReadEntries, Tell
from p2pfl.ledger.finality.sync import Sync
from p2pfl.ledger.finality.talk import Digest, Entries, Forks, Stretch, Vector, Wanted, parse
from p2pfl.wire.keyfile import Signer

A, B = NodeId(b"a" * 32), NodeId(b"b" * 32)


def story(world: Any, signer: Signer, length: int, incarnation: int = 0) -> list[Entry]:
    feed, entry = append(Feed(world.net, signer.node, incarnation), signer, 0, "feed.open", Opening(FORMAT, bytes(32)))
    entries = [entry]
    for round_ in range(1, length):
        feed, entry = append(feed, signer, round_, "model", ModelDigest(bytes(32), 0))
        entries.append(entry)
    return entries


def talk(one: Sync, other: Sync, loss: float = 0.0, seed: int = 0, messages_max: int = 400) -> list[Any]:
    """One greets the other, and they talk until nobody has anything to say. Returns what was said."""
    random = Random(seed)
    said: list[Any] = []
    queue: list[tuple[Sync, NodeId, LedgerEffect]] = [(other, A, one.greet(B))]
    while queue and len(said) < messages_max:
        to, sender, effect = queue.pop(0)
        if not isinstance(effect, Tell) or random.random() < loss:
            continue
        message = parse(effect.message.raw)
        assert message == effect.message
        said.append(message)
        effects, _ = to.told(sender, message)  # type: ignore[arg-type]
        back = one if to is other else other
        sent_by = B if to is other else A
        queue += [(back, sent_by, e) for e in effects if isinstance(e, Tell) and e.to == sender]
    assert len(said) < messages_max
    return said


def sync_of(world: Any, entries: list[Entry]) -> Sync:
    book = Book(world.net)
    for entry in entries:
        book.add(entry)
    return Sync(book)


@settings(max_examples=30)
@given(
    cuts=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=3),
    loss=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 99),
)
def test_two_books_become_one(world: Any, cuts: list[tuple[int, int]], loss: float, seed: int) -> None:
    feeds = [story(world, world.alice, 6), story(world, world.bob, 6), story(world, world.bob, 6, incarnation=1)]
    one = sync_of(world, [e for feed, (n, _) in zip(feeds, cuts, strict=True) for e in feed[:n]])
    other = sync_of(world, [e for feed, (_, n) in zip(feeds, cuts, strict=True) for e in feed[:n]])
    for attempt in range(40):
        talk(one, other, loss, seed + attempt)
        talk(other, one, loss, seed + attempt)
    most = [max(pair) for pair in cuts]
    expected = sorted(feed[n - 1].id for feed, n in zip(feeds, most, strict=True) if n)
    for side in (one, other):
        assert sorted(tip.id for tip in side.book.tips()) == expected
    assert talk(one, other) == [Digest(one._digest())]  # and then there is nothing left to say


@settings(max_examples=30)
@given(at=st.integers(1, 5), mine=st.integers(2, 6), theirs=st.integers(2, 6))
def test_two_branches_become_one_proof(world: Any, at: int, mine: int, theirs: int) -> None:
    entries = story(world, world.alice, 6)
    feed, branch = feed_from(entries[:at]), []
    for i in range(6 - at):
        feed, entry = append(feed, world.alice, 70 + i, "model", ModelDigest(bytes(32), 1))
        branch.append(entry)
    one, other = sync_of(world, entries[:mine]), sync_of(world, [*entries[:at], *branch][:theirs])
    for _ in range(3):
        talk(one, other)
        talk(other, one)
    key = (world.alice.node, 0)
    forked = mine > at and theirs > at
    assert (key in one.book.forks) is (key in other.book.forks) is forked
    if forked:
        third = sync_of(world, entries)
        said = talk(one, third)
        proofs = [i for i, message in enumerate(said) if isinstance(message, Forks)]
        others = [i for i, message in enumerate(said) if isinstance(message, Entries)]
        assert key in third.book.forks
        assert not others or min(proofs) < min(others)


def test_a_long_feed_comes_in_bounded_pieces(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ENTRIES_SENT_MAX >= 4
    monkeypatch.setattr(syncs, "ENTRIES_SENT_MAX", 4)
    entries = story(world, world.alice, 30)
    one, other = sync_of(world, entries), sync_of(world, [])
    said = talk(other, one)
    sizes = [len(message.entries) for message in said if isinstance(message, Entries)]
    assert max(sizes) == 4
    assert sum(sizes) >= 30
    assert other.book.tips() == one.book.tips()


def test_bytes_bound_a_message_too(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = story(world, world.alice, 5)
    monkeypatch.setattr(syncs, "ENTRIES_SENT_BYTES_MAX", 2 * max(len(entry.raw) for entry in entries))
    one, other = sync_of(world, entries), sync_of(world, [])
    for _ in range(3):
        said = talk(other, one)
        assert all(len(message.entries) <= 2 for message in said if isinstance(message, Entries))
    assert other.book.tips() == one.book.tips()


def test_a_bad_entry_costs_its_sender_and_not_the_good_ones_before_it(world: Any) -> None:
    entries = story(world, world.alice, 3)
    side = sync_of(world, [])
    effects, news = side.told(A, Entries((entries[0].raw, b"junk")))
    assert [entry.id for entry in news.entries] == [entries[0].id]
    assert effects
    with pytest.raises(Reject):
        side.told(A, Entries((b"junk",)))


def test_what_is_not_in_memory_is_read_from_the_store(world: Any) -> None:
    entries = story(world, world.alice, 10)
    side = sync_of(world, entries)
    feed = (world.alice.node, 0)
    tip = side.book.tip(feed)
    assert tip is not None
    side.book.trim({feed: tip}, keep=2)
    effects, _ = side.told(A, Vector(()))
    assert ReadEntries(A, tip, -1) in effects
    effects, _ = side.told(A, Wanted((Stretch(tip, 3),)))
    assert ReadEntries(A, tip, 3) in effects


def test_news_go_on_to_all_but_where_they_came_from(world: Any) -> None:
    entries = story(world, world.alice, 2)
    side = sync_of(world, [])
    effects, news = side.told(A, Entries(tuple(entry.raw for entry in entries)))
    assert effects[-1] == Tell(Entries(tuple(entry.raw for entry in entries)), None, A, relayed=True)
    effects, news = side.told(B, Entries(tuple(entry.raw for entry in entries)))
    assert not news
    assert not effects
