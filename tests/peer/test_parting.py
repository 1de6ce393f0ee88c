"""A node that is done stays while anybody makes progress, and not for ever."""

from p2pfl.core.ids import NodeId
from p2pfl.peer.parting import DEAD_FAILURES, LEVEL_FAILURES, QUIET_S, STAY_S_MAX, Parting

ONE, OTHER = (NodeId(bytes([number]) * 32) for number in (1, 2))


def test_silence_counts_from_when_news_could_have_come() -> None:
    parting = Parting([ONE])
    parting.begin(100.0)
    assert not parting.in_vain(100.0 + QUIET_S + 7.9, 8.0)
    assert parting.in_vain(100.0 + QUIET_S + 8.0, 8.0)
    parting.news(120.0)
    assert not parting.in_vain(120.0 + QUIET_S + 7.9, 8.0)


def test_a_view_that_passes_is_news_and_the_same_again_is_none() -> None:
    parting = Parting([ONE])
    parting.begin(0.0)
    parting.at(0, 1, 1.0)
    parting.at(0, 2, 30.0)
    parting.at(0, 2, 40.0)
    assert not parting.in_vain(30.0 + QUIET_S - 0.1, 0.0)
    assert parting.in_vain(30.0 + QUIET_S, 0.0)


def test_views_without_a_height_do_not_hold_anybody_for_ever() -> None:
    parting = Parting([ONE])
    parting.begin(0.0)
    parting.final(50.0)
    for second in range(50, 50 + int(STAY_S_MAX)):
        parting.at(0, second, float(second))
        assert not parting.in_vain(float(second), 4.0)
    assert parting.in_vain(50.0 + STAY_S_MAX, 4.0)


def test_who_was_as_far_is_sooner_taken_to_have_left() -> None:
    parting = Parting([ONE])
    parting.heard(ONE, 7)
    parting.heard(ONE, 6)
    assert parting.left(ONE, LEVEL_FAILURES, 7)
    assert not parting.left(ONE, LEVEL_FAILURES, 8)
    assert not parting.left(OTHER, LEVEL_FAILURES, 0)
    assert parting.left(OTHER, DEAD_FAILURES, 0)
    assert parting.level([ONE], 7)
    assert not parting.level([ONE, OTHER], 7)
