"""The laws of merging what is known: in whatever order and however often it is heard, the same comes of it."""

from functools import reduce
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.membership.bounds import ACCUSERS_MAX
from p2pfl.membership.record import Record
from p2pfl.membership.standing import Standing, State, merge
from p2pfl.membership.statements import Tag, state
from p2pfl.wire.keyfile import Signer

NET = bytes(32)
X = Signer(b"x" * 32)
ACCUSERS = [Signer(bytes([i + 1]) * 32) for i in range(ACCUSERS_MAX + 3)]
RECORDS = [Record(NET, X.node, i, bytes([i]) * 16, ("http://x:1",)).signed(X) for i in range(3)]
RECORDS.append(Record(NET, X.node, 2, b"other session 16", ("http://y:1",)).signed(X))
SAID = {
    (tag, i, record.incarnation): state(who, tag, NET, X.node, record.incarnation)
    for record in RECORDS
    for tag in (Tag.SUSPECT, Tag.DEAD)
    for i, who in enumerate(ACCUSERS)
}
LEFT = {record.incarnation: state(X, Tag.LEFT, NET, X.node, record.incarnation) for record in RECORDS}


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    record = draw(st.sampled_from(RECORDS))
    found = Standing(record)
    for i in draw(st.sets(st.integers(0, len(ACCUSERS) - 1))):
        found = found.told(SAID[Tag.SUSPECT, i, record.incarnation])
    if draw(st.booleans()):
        found = found.told(SAID[Tag.DEAD, draw(st.integers(0, 5)), record.incarnation])
    return found.told(LEFT[record.incarnation]) if draw(st.booleans()) else found


@given(standings(), standings(), standings())
@settings(max_examples=60, deadline=None)
def test_merging_is_a_join(a: Standing, b: Standing, c: Standing) -> None:
    assert merge(a, a) == a
    assert merge(a, b) == merge(b, a)
    assert merge(a, merge(b, c)) == merge(merge(a, b), c)
    assert merge(a, merge(a, b)) == merge(a, b)


@given(standings(), standings())
@settings(max_examples=60, deadline=None)
def test_nothing_known_is_lost(a: Standing, b: Standing) -> None:
    both = merge(a, b)
    assert both.incarnation == max(a.incarnation, b.incarnation)
    if a.incarnation == b.incarnation:
        assert both.state == max(a.state, b.state)
        assert len(both.accusers) <= ACCUSERS_MAX
    else:
        assert both == (a if a.incarnation > b.incarnation else b)


def test_a_higher_incarnation_wins_over_every_accusation() -> None:
    dead = Standing(RECORDS[0]).told(SAID[Tag.SUSPECT, 0, 0]).told(SAID[Tag.DEAD, 1, 0])
    assert dead.state is State.DEAD
    assert merge(dead, Standing(RECORDS[1])).state is State.ALIVE


def test_alive_suspect_dead_left() -> None:
    steps = [SAID[Tag.SUSPECT, 0, 1], SAID[Tag.DEAD, 0, 1], LEFT[1]]
    for order in permutations(steps):
        assert reduce(Standing.told, order, Standing(RECORDS[1])).state is State.LEFT
    states = [reduce(Standing.told, steps[:count], Standing(RECORDS[1])).state for count in range(4)]
    assert states == [State.ALIVE, State.SUSPECT, State.DEAD, State.LEFT]


def test_an_accuser_counts_once_and_of_many_the_same_are_kept() -> None:
    twice = Standing(RECORDS[1]).told(SAID[Tag.SUSPECT, 0, 1]).told(SAID[Tag.SUSPECT, 0, 1])
    assert len(twice.accusers) == 1
    said = [SAID[Tag.SUSPECT, i, 1] for i in range(len(ACCUSERS))]
    forwards, backwards = (reduce(Standing.told, order, Standing(RECORDS[1])) for order in (said, said[::-1]))
    assert forwards == backwards
    assert len(forwards.accusers) == ACCUSERS_MAX


def test_what_is_said_of_another_incarnation_says_nothing() -> None:
    assert Standing(RECORDS[1]).told(SAID[Tag.DEAD, 0, 0]) == Standing(RECORDS[1])
    assert Standing(RECORDS[1]).told(SAID[Tag.DEAD, 0, 2]) == Standing(RECORDS[1])
