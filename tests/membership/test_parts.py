"""The small machines of the watch: sessions, rumours, turns, pauses, the length of a suspicion."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import generator, root
from p2pfl.errors import Ignore
from p2pfl.membership.bounds import HEALTH_MAX, NEWS_BYTES, NEWS_ITEMS_MAX, RUMOURS_MAX, WINDOW_BITS, Pace
from p2pfl.membership.healing import Healing
from p2pfl.membership.health import Health
from p2pfl.membership.probing import ANCHORS, Turns, anchors
from p2pfl.membership.rumours import Rumours
from p2pfl.membership.session import Window, Windows

KEYS = [NodeId(bytes([i]) * 32) for i in range(20)]


# ------------------------------------------------------------------------------------------------ sessions


@given(st.lists(st.integers(0, 3 * WINDOW_BITS), max_size=200))
@settings(max_examples=60, deadline=None)
def test_a_number_is_taken_once_in_whatever_order(numbers: list[int]) -> None:
    window, taken = Window(b"s"), set()
    for number in numbers:
        top = max(taken, default=-1)
        fits = number not in taken and number > top - WINDOW_BITS
        assert window.take(number) is fits
        if fits:
            taken.add(number)


def test_the_window_ends_where_it_says() -> None:
    window = Window(b"s")
    assert window.take(WINDOW_BITS)
    assert window.take(1)
    assert not window.take(0)


def test_another_life_begins_a_new_window() -> None:
    windows = Windows()
    windows.take(KEYS[0], b"a", 5)
    with pytest.raises(Ignore, match="replayed"):
        windows.take(KEYS[0], b"a", 5)
    windows.take(KEYS[0], b"b", 5)
    windows.take(KEYS[1], b"a", 5)


# ------------------------------------------------------------------------------------------------ rumours


def test_news_are_passed_on_so_often_and_no_more() -> None:
    rumours = Rumours()
    rumours.add("a", b"old")
    rumours.add("a", b"new")
    rumours.add("b", b"other")
    heard = [raw for _ in range(10) for raw in rumours.take(3)]
    assert sorted(heard) == sorted([b"new"] * 3 + [b"other"] * 3)
    assert not rumours


def test_what_was_told_least_goes_first_and_only_what_fits() -> None:
    rumours = Rumours()
    rumours.add("old", b"x" * 100)
    assert rumours.take(9, 100) == [b"x" * 100]
    rumours.add("new", b"y" * 100)
    assert rumours.take(9, 150) == [b"y" * 100]
    assert rumours.take(9, 99) == []


def test_there_is_a_bound_to_what_waits_and_what_goes() -> None:
    rumours = Rumours()
    for number in range(RUMOURS_MAX + 10):
        rumours.add(number, number.to_bytes(4, "big"))
    taken = rumours.take(9)
    assert len(taken) == NEWS_ITEMS_MAX
    assert sum(map(len, taken)) <= NEWS_BYTES
    assert len({raw for _ in range(RUMOURS_MAX) for raw in rumours.take(9)} | set(taken)) == RUMOURS_MAX


# ------------------------------------------------------------------------------------------------ turns and pauses


def test_everybody_has_a_turn_before_anybody_has_two() -> None:
    turns = Turns(generator(root(1)))
    for _ in range(3):
        assert sorted(turns.next(KEYS) or b"" for _ in KEYS) == sorted(KEYS)
    assert turns.next([]) is None


def test_who_has_gone_has_no_turn() -> None:
    turns = Turns(generator(root(1)))
    turns.next(KEYS)
    assert {turns.next(KEYS[:2]) for _ in range(4)} == set(KEYS[:2])


def test_anchors_are_the_same_for_all_and_few() -> None:
    assert anchors(KEYS[0], KEYS) == anchors(KEYS[0], KEYS[::-1])
    assert len(anchors(KEYS[0], KEYS)) == ANCHORS
    assert KEYS[0] not in anchors(KEYS[0], KEYS)


def test_pauses_grow_seeds_are_kept_and_others_forgotten() -> None:
    pace = Pace(heal_s=10, heal_s_max=40, seed_s_max=20, keep_s=200)
    healing = Healing(pace, frozenset(KEYS[:1]))
    healing.lost(KEYS[0], 0.0)
    healing.lost(KEYS[1], 0.0)
    tried: dict[NodeId, list[float]] = {KEYS[0]: [], KEYS[1]: []}
    while (now := healing.due()) < 400:
        tries, old = healing.next_tries(now)
        for node in tries:
            tried[node].append(now)
        assert old in ([], [KEYS[1]])
    assert tried[KEYS[0]][:4] == [10, 30, 50, 70]
    assert tried[KEYS[0]][-1] > 370
    assert tried[KEYS[1]] == [10, 30, 70, 110, 150, 190]
    healing.found(KEYS[0])
    assert healing.due() == inf


@given(st.integers(2, 4096), st.integers(0, 10))
@settings(max_examples=60)
def test_a_suspicion_is_shorter_the_more_accuse(members: int, confirmed: int) -> None:
    pace = Pace()
    least = pace.suspicion_s(4096, 100) if members == 4096 else pace.suspicion_s(members, 100)
    assert least <= pace.suspicion_s(members, confirmed + 1) <= pace.suspicion_s(members, confirmed)
    assert pace.suspicion_s(members, 0) <= pace.suspicion_max * least


def test_the_suspicion_of_lifeguards_paper() -> None:
    """Section 4 with alpha 4, beta 6, k 2 of 100 members: 48 s at first, 8 s when both have confirmed."""
    pace = Pace()
    assert pace.suspicion_s(100, 0) == pytest.approx(48.0)
    assert pace.suspicion_s(100, 1) == pytest.approx(48 - 40 * 0.63093, rel=1e-4)
    assert pace.suspicion_s(100, 2) == pytest.approx(8.0)


def test_health_has_ends() -> None:
    health = Health()
    health.better()
    assert health.score == 0
    health.worse(100)
    assert health.score == HEALTH_MAX
