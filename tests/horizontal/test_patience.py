"""How long a node waits for a neighbour: by its round trips and failures."""

import pytest

from p2pfl.horizontal.pace.patience import ATTEMPTS, DEADLINE_S_MIN, FIRST_GUESS_S, PAUSE_S, Patience

PEER, OTHER = b"a" * 32, b"b" * 32


def answered(patience, took_s, times=1, now=0.0):
    for _ in range(times):
        patience.ask(PEER, now)
        patience.answered(PEER, now + took_s)


def test_before_the_first_answer_the_size_of_a_body_counts():
    assert Patience(60.0, 0).ask(PEER, 0.0) == pytest.approx(4 * FIRST_GUESS_S)
    assert Patience(60.0, 10_000_000).ask(PEER, 0.0) == pytest.approx(4 * (FIRST_GUESS_S + 10.0))
    assert Patience(1.5, 10_000_000).ask(PEER, 0.0) == 1.5


def test_a_deadline_is_four_usual_round_trips():
    patience = Patience(60.0, 0)
    answered(patience, 0.1, times=3)
    assert patience.ask(PEER, 7.0) == pytest.approx(7.4)
    answered(patience, 0.6)
    assert patience.usual_s(PEER) == pytest.approx(0.1)  # one that got stuck does not move a median
    assert patience.ask(OTHER, 0.0) == pytest.approx(4 * FIRST_GUESS_S)


def test_failures_double_it_up_to_the_time_out_and_an_exchange_forgets_them():
    patience = Patience(1.0, 0)
    answered(patience, 0.001)
    limits = []
    for _ in range(8):
        limits.append(patience.ask(PEER, 0.0))
        patience.failed(PEER)
    assert limits == [min(DEADLINE_S_MIN * 2**n, 1.0) for n in range(8)]
    assert not patience.reachable(PEER)
    patience.arrived(PEER)
    assert patience.reachable(PEER)
    assert patience.ask(PEER, 0.0) == DEADLINE_S_MIN


def test_pauses_follow_the_round_trip_too():
    patience = Patience(1.0, 0)
    answered(patience, 0.002)
    patience.failed(PEER)
    assert patience.pause_s(PEER) == pytest.approx(0.004)
    answered(patience, 10.0, times=5)
    assert patience.pause_s(PEER) == pytest.approx(2 * PAUSE_S)


def test_a_refusal_counts_as_many_failures_and_a_quiet_time_ends():
    patience = Patience(1.0, 0)
    patience.refused(PEER)
    assert patience.failures(PEER) == ATTEMPTS
    patience.leave(PEER, 3.0)
    assert not patience.may_ask(PEER, 2.9)
    assert patience.may_ask(PEER, 3.0)
    assert patience.may_ask(OTHER, 0.0)


def test_a_busy_neighbour_gets_more_time():
    patience = Patience(1.0, 0)
    answered(patience, 0.1)
    patience.busy(PEER)
    assert patience.usual_s(PEER) == pytest.approx(0.2)
    for _ in range(9):
        patience.busy(PEER)
    assert patience.usual_s(PEER) == 1.0


def opened(patience):
    for _ in range(ATTEMPTS):
        patience.ask(PEER, 0.0)
        patience.failed(PEER)
    patience.open(PEER)


def test_a_breaker_that_closes_gives_all_attempts_again():
    """At the usual deadline: one lost word after a cut must not cost as much as the cut's last attempt did."""
    patience = Patience(60.0, 0)
    answered(patience, 0.1, times=3)
    opened(patience)
    assert not patience.reachable(PEER)
    for _ in range(4):
        patience.failed(PEER)
    patience.close(PEER)
    assert patience.reachable(PEER)
    assert not patience.exhausted(PEER, 0.0)
    assert patience.ask(PEER, 0.0) == pytest.approx(0.4)


def test_who_answers_but_never_exchanges_is_asked_less_and_less_often():
    patience = Patience(1.0, 0)
    pauses = []
    for _ in range(3):
        opened(patience)
        pauses.append(patience.probe_pause_s(PEER))
        patience.close(PEER)
    assert pauses == [PAUSE_S * 2 ** (ATTEMPTS + n) for n in range(3)]
    patience.arrived(PEER)
    opened(patience)
    assert patience.probe_pause_s(PEER) == pauses[0]


def test_an_answer_is_late_by_habit():
    patience = Patience(60.0, 0)
    answered(patience, 0.1, times=3)
    assert not patience.is_late(OTHER, 100.0)  # it was asked nothing
    patience.ask(PEER, 5.0)
    assert not patience.is_late(PEER, 5.3)
    assert patience.is_late(PEER, 5.5)
