"""The chain: it grows by the next entry of its author and by nothing else, and a second entry is evidence."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import BrokenChain, ForkFound, Reject
from p2pfl.ledger.feeds.entry import Entry, parse
from p2pfl.ledger.feeds.evidence import Evidence, ProvenFork, convict, evidence_of
from p2pfl.ledger.feeds.feed import Feed, append, append_rows, extend, feed_from
from p2pfl.ledger.feeds.kinds import ACCEPTED, IGNORED, REJECTED, ModelDigest
from p2pfl.ledger.feeds.records import entry_key, put_entry, restore
from p2pfl.ledger.feeds.tally import Tally, receipts_of, tally_from
from p2pfl.wire import canonical


def second(world: Any, entries: list[Entry], at: int) -> Entry:
    """Another entry of the same author at position `at`, properly chained: what an equivocator would sign."""
    feed = feed_from(entries[:at])
    return append(feed, world.alice, 9, "model", ModelDigest(bytes(32), 0))[1]


def test_a_written_feed_reads_back_to_the_same_head(world: Any) -> None:
    entries = world.story(windows=3)
    feed = feed_from(parse(entry.raw) for entry in entries)
    assert (feed.head, feed.next_seq) == (entries[-1].id, len(entries))
    for before, after in pairwise(entries):
        assert after.prev == before.id


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_only_the_whole_story_in_order_extends(world: Any, data: st.DataObject) -> None:
    """Any other sequence of its entries fails, unless it is the story with entries repeated."""
    entries = world.story(windows=1)
    order = data.draw(st.lists(st.integers(0, len(entries) - 1), min_size=1, max_size=7))
    told, good = 0, True
    for at in order:
        good = good and (at == told or (told > 0 and at == told - 1))
        told += at == told
    feed = Feed(world.net, world.alice.node)
    if good:
        assert feed_from([entries[at] for at in order], feed).next_seq == told
    else:
        with pytest.raises(BrokenChain):
            feed_from([entries[at] for at in order], feed)


@pytest.mark.parametrize("what", ["author", "network", "incarnation", "signature", "gap", "predecessor"])
def test_what_does_not_follow_is_named(world: Any, what: str) -> None:
    entries = world.story(windows=2)
    feed, entry = feed_from(entries[:2]), entries[2]
    match what:
        case "author":
            entry = world.story(world.bob)[2]
        case "network":
            feed = replace(feed, net=bytes(32))
        case "incarnation":
            feed = replace(feed, incarnation=1)
        case "signature":
            entry = parse(canonical.packb([entry.body, bytes(64)]))
        case "gap":
            entry = entries[3]
        case "predecessor":
            feed = feed_from([entries[0], second(world, entries, 1)])
    with pytest.raises(BrokenChain) as caught:
        extend(feed, entry)
    assert str(caught.value).startswith(entry.name)


def test_nothing_is_not_a_feed() -> None:
    with pytest.raises(BrokenChain):
        feed_from([])


def test_a_second_entry_at_the_head_is_evidence_and_not_an_overwrite(world: Any) -> None:
    entries = world.story()
    feed, other = feed_from(entries), second(world, entries, len(entries) - 1)
    with pytest.raises(ProvenFork) as caught:
        extend(feed, other)
    assert {caught.value.evidence.first, caught.value.evidence.second} == {entries[-1].raw, other.raw}
    assert convict(caught.value.evidence) == world.alice.node
    assert isinstance(caught.value, ForkFound)


def test_a_second_entry_before_the_head_is_evidence_if_the_store_has_the_first(world: Any) -> None:
    entries = world.story()
    feed, other = feed_from(entries), second(world, entries, 1)
    with pytest.raises(ProvenFork) as caught:
        extend(feed, other, known=entries[1])
    assert convict(caught.value.evidence) == world.alice.node
    with pytest.raises(BrokenChain):
        extend(feed, other)
    assert extend(feed, entries[1], known=entries[1]) == feed


def test_both_ends_of_a_fork_make_one_proof(world: Any) -> None:
    entries = world.story()
    other = second(world, entries, 2)
    assert evidence_of(entries[2], other) == evidence_of(other, entries[2])


def test_what_is_no_fork_convicts_nobody(world: Any) -> None:
    entries = world.story()
    here, there, other = entries[1], entries[2], second(world, entries, 1)
    resigned = parse(canonical.packb([other.body, bytes(64)]))
    elsewhere = append(replace(feed_from(entries[:1]), net=bytes(32)), world.alice, 0, "note", [])[1]
    innocent = [evidence_of(*pair) for pair in ((here, there), (here, here), (here, resigned), (here, elsewhere))]
    proof = evidence_of(here, other)
    for evidence in (*innocent, Evidence(proof.second, proof.first), Evidence(here.raw, b"noise")):
        with pytest.raises(Reject):
            convict(evidence)
    assert convict(proof) == world.alice.node


def test_only_the_author_appends(world: Any) -> None:
    with pytest.raises(ValueError, match="cannot be signed by"):
        append(Feed(world.net, world.alice.node), world.bob, 0, "feed.open", [1, world.digest])


def test_a_feed_begins_with_its_opening(world: Any) -> None:
    with pytest.raises(ValueError, match=r"feed\.open"):
        append(Feed(world.net, world.alice.node), world.alice, 0, "note", [])
    feed, _ = world.opened(world.alice)
    with pytest.raises(ValueError, match=r"feed\.open"):
        append(feed, world.alice, 0, "feed.open", [1, world.digest])


def test_many_rows_become_several_entries_and_none_becomes_none(world: Any) -> None:
    feed, _ = world.opened(world.alice)
    tally, rows = Tally(), []
    for seq in range(600):
        tally, row = tally.add(world.bob.node, 0, seq, world.digest, 10, ACCEPTED)
        rows.append(row)
    grown, entries = append_rows(feed, world.alice, 0, "receipts", rows)
    assert [row for entry in entries for row in receipts_of(entry)] == rows
    assert (len(entries), grown.head) == (2, entries[-1].id)
    assert append_rows(feed, world.alice, 0, "receipts", []) == (feed, [])


def test_totals_count_accepted_messages_and_survive_a_restart(world: Any) -> None:
    feed, _ = world.opened(world.alice)
    tally, rows = Tally(), []
    for seq, verdict in enumerate((ACCEPTED, REJECTED, ACCEPTED, IGNORED)):
        tally, row = tally.add(world.bob.node, 0, seq, world.digest, 10, verdict)
        rows.append(row)
    assert [(row.num_accepted, row.total_bytes) for row in rows] == [(1, 10), (1, 10), (2, 20), (2, 20)]
    _, entry = append(feed, world.alice, 0, "receipts", rows)
    assert tally_from([parse(entry.raw)]) == tally


def test_a_restored_feed_is_ones_own_among_others(world: Any) -> None:
    mine, theirs = world.story(), world.story(world.bob)
    space = {put.key: put.value for put in map(put_entry, [*theirs, *mine]) if put.value is not None}
    feed, entries = restore(space, Feed(world.net, world.alice.node))
    assert (feed, entries) == (feed_from(mine), mine)
    empty, none = restore({}, Feed(world.net, world.alice.node))
    assert (empty.next_seq, none) == (0, [])


@pytest.mark.parametrize("damage", ["missing", "noise", "moved"])
def test_a_damaged_feed_is_not_restored(world: Any, damage: str) -> None:
    entries = world.story()
    space = {put.key: put.value for put in map(put_entry, entries) if put.value is not None}
    key = entry_key(world.alice.node, 0, 1)
    match damage:
        case "missing":
            del space[key]
        case "noise":
            space[key] = b"noise"
        case "moved":
            space[key] = space[entry_key(world.alice.node, 0, 2)]
    with pytest.raises(BrokenChain):
        restore(space, Feed(world.net, world.alice.node))
