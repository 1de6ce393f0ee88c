"""The contract of a store, kept by each kind: all or nothing, durable on return, entries for ever."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pfl.core.party import Put
from p2pfl.errors import BrokenChain, HostError
from p2pfl.ledger.feeds.entry import Entry, parse
from p2pfl.ledger.feeds.evidence import ProvenFork, convict
from p2pfl.ledger.feeds.feed import Feed, append, feed_from
from p2pfl.ledger.feeds.kinds import ModelDigest
from p2pfl.ledger.feeds.records import ENTRY, VALUE_BYTES_MAX, put_entry, restore
from p2pfl.wire import canonical

puts = st.builds(
    Put,
    space=st.sampled_from(["snapshot", "journal", "receipt"]),
    key=st.binary(max_size=3),
    value=st.none() | st.binary(max_size=20),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(puts, max_size=6), max_size=5), many=st.booleans(), restart=st.booleans())
def test_a_store_is_a_sorted_dictionary_that_lasts(
    make_kept: Callable[[], Any], batches: list[list[Put]], many: bool, restart: bool
) -> None:
    kept = make_kept()
    model: dict[str, dict[bytes, bytes]] = {}
    for put in (put for batch in batches for put in batch):
        space = model.setdefault(put.space, {})
        if put.value is None:
            space.pop(put.key, None)
        else:
            space[put.key] = put.value
    if many:
        kept.store.commit_many(batches)
    else:
        for batch in batches:
            kept.store.commit(batch)
    loaded = kept.reopen().load() if restart else kept.store.load()
    assert loaded == {space: rows for space, rows in model.items() if rows}
    for rows in loaded.values():
        assert list(rows) == sorted(rows)
    kept.store.close()


def test_entries_come_back_in_the_order_of_their_positions(world: Any, kept: Any) -> None:
    mine, theirs = world.story(windows=2), world.story(world.bob)
    kept.store.commit([*map(put_entry, reversed([*mine, *theirs])), Put("snapshot", b"k", b"v")])
    loaded = kept.reopen().load()
    assert list(loaded[ENTRY].values()) == [e.raw for e in sorted([*mine, *theirs], key=lambda e: (e.author, e.seq))]
    assert restore(loaded[ENTRY], Feed(world.net, world.alice.node))[0] == feed_from(mine)
    assert kept.store.load(["snapshot"]) == {"snapshot": {b"k": b"v"}}
    assert kept.store.load([ENTRY, "none"]) == {ENTRY: loaded[ENTRY]}


def test_the_same_entry_again_changes_nothing(world: Any, kept: Any) -> None:
    entries = [*map(put_entry, world.story())]
    kept.store.commit(entries)
    before = kept.store.load()
    kept.store.commit([entries[1], *entries])
    assert kept.store.load() == before


@pytest.mark.parametrize("together", [True, False])
def test_another_entry_at_a_position_is_refused_and_the_write_is_undone(world: Any, kept: Any, together: bool) -> None:
    entries = world.story()
    _, other = append(feed_from(entries[:1]), world.alice, 5, "model", ModelDigest(bytes(32), 0))
    first, rest = [*map(put_entry, entries)], [Put("snapshot", b"k", b"v"), put_entry(other)]
    if not together:
        kept.store.commit(first)
    with pytest.raises(ProvenFork) as caught:
        kept.store.commit([*first, *rest])
    assert convict(caught.value.evidence) == world.alice.node
    assert kept.reopen().load() == ({} if together else {ENTRY: {put.key: put.value for put in first}})


@pytest.mark.parametrize("case", ["removed", "noise", "wrong key", "other signature"])
def test_what_is_no_entry_at_its_key_is_refused(world: Any, kept: Any, case: str) -> None:
    one, other = map(put_entry, world.story()[:2])
    kept.store.commit([one])
    resigned = canonical.packb([parse(one.value or b"").body, bytes(64)])
    bad = {
        "removed": Put(ENTRY, one.key, None),
        "noise": Put(ENTRY, one.key, b"noise"),
        "wrong key": Put(ENTRY, one.key, other.value),
        "other signature": Put(ENTRY, one.key, resigned),
    }[case]
    with pytest.raises(BrokenChain):
        kept.store.commit([Put("snapshot", b"k", b"v"), bad])
    assert kept.store.load() == {ENTRY: {one.key: one.value}}


@pytest.mark.slow
def test_a_value_past_the_bound_is_our_own_fault(kept: Any) -> None:
    with pytest.raises(ValueError, match="at most"):
        kept.store.commit([Put("snapshot", b"a", b"1"), Put("snapshot", b"k", bytes(VALUE_BYTES_MAX + 1))])
    assert kept.store.load() == {}


def test_a_closed_store_takes_nothing(kept: Any) -> None:
    kept.store.close()
    kept.store.close()
    for action in (lambda: kept.store.commit([]), lambda: kept.store.load()):
        with pytest.raises(HostError, match="closed"):
            action()


# --------------------------------------------------------------------------------------------- fault table


class Faulty:
    """A store whose commit number `at` fails once: `lost`, or kept and reported lost."""

    def __init__(self, inner: Any, at: int, kept: bool) -> None:
        self.inner = inner
        self._left = at
        self._kept = kept

    def commit(self, puts: Sequence[Put]) -> None:
        self._left -= 1
        if self._left == -1:
            if self._kept:
                self.inner.commit(puts)
            raise HostError("the disk failed")
        self.inner.commit(puts)


class Clerk:
    """The smallest writer of a feed: persists an entry, then tells the world, and begins again from what is stored."""

    def __init__(self, world: Any, told: list[Entry]) -> None:
        self._world = world
        self.told = told

    def run(self, store: Any, entries_wanted: int) -> None:
        space = store.inner.load().get(ENTRY, {})
        feed, entries = restore(space, Feed(self._world.net, self._world.alice.node))
        for entry in entries:
            self._tell(entry)
        while feed.next_seq < entries_wanted:
            if feed.last is None:
                feed, entry = self._world.opened(self._world.alice)
            else:
                # what is recorded differs in each life, so a forgotten entry would be a fork
                life = len(self.told).to_bytes(32, "big")
                feed, entry = append(feed, self._world.alice, feed.next_seq, "model", ModelDigest(life, 0))
            store.commit([put_entry(entry), Put("snapshot", b"head", entry.id)])
            self._tell(entry)

    def _tell(self, entry: Entry) -> None:
        self.told.append(entry)


@pytest.mark.parametrize("persisted", [False, True], ids=["lost", "persisted but reported lost"])
@pytest.mark.parametrize("at", range(5))
def test_a_failed_write_never_forks_the_feed_nor_loses_what_was_told(
    world: Any, kept: Any, at: int, persisted: bool
) -> None:
    told: list[Entry] = []
    clerk = Clerk(world, told)
    with pytest.raises(HostError):
        clerk.run(Faulty(kept.store, at, persisted), 5)
    for again in range(5):  # and the next lives fail as well, at each of their writes
        try:
            clerk.run(Faulty(kept.reopen(), again, persisted), 5)
        except HostError:
            continue
    clerk.run(Faulty(kept.reopen(), -1, persisted), 5)
    positions: dict[int, bytes] = {}
    for entry in told:
        assert positions.setdefault(entry.seq, entry.id) == entry.id
    loaded = kept.reopen().load()
    feed, entries = restore(loaded[ENTRY], Feed(world.net, world.alice.node))
    assert {e.seq: e.id for e in entries} == positions
    assert loaded["snapshot"] == {b"head": feed.head}
