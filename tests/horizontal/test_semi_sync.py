"""Rounds without a barrier: who is waited for, what a late row is worth, and that nobody holds anybody up."""

from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.horizontal.pace.deadlines import SPREAD_MIN, WINDOW, Durations, K
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.horizontal.pace.outbox import Outbox
from p2pfl.horizontal.pace.patience import Patience
from p2pfl.horizontal.rows.clock import FLOOR_S, MISSED_MAX, RowClock
from p2pfl.hosts.faults import Crash, Faults, Partition
from p2pfl.mixing import Average, Epidemic, PushSum

A, B, C = (bytes([n]) * 32 for n in (1, 2, 3))
RING = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)]
COMPLETE = [(a, b) for a in range(4) for b in range(a + 1, 4)]


class TestDeadlines:
    @given(st.lists(st.floats(0.001, 100.0), min_size=1, max_size=WINDOW))
    def test_a_limit_is_never_below_four_usual_durations(self, seconds):
        durations = Durations()
        for one in seconds:
            durations.add(one)
        assert durations.limit >= (1 + K * SPREAD_MIN) * durations.median * (1 - 1e-9)

    @given(st.lists(st.floats(0.9, 1.1), min_size=9, max_size=20), st.floats(100.0, 1e4))
    def test_a_few_that_got_stuck_move_nothing(self, usual, stuck):
        durations = Durations()
        for one in [*usual, stuck, stuck]:
            durations.add(one)
        assert durations.limit < 8

    def test_only_the_newest_count(self):
        durations = Durations()
        for seconds in [50.0] * WINDOW + [1.0] * WINDOW:
            durations.add(seconds)
        assert durations.median == 1.0


class TestClock:
    def told(self, clock: RowClock, peer: bytes, after: float, rounds: int = 5) -> None:
        for number in range(rounds):
            clock.opened(number, 10.0 * number)
            clock.arrived(peer, number, 10.0 * number + after)

    def test_before_anything_is_known_only_the_hard_deadline(self):
        assert RowClock(7.0).limit_s(A) == 7.0

    def test_a_habit_of_being_slow_buys_no_patience(self):
        clock = RowClock(60.0)
        self.told(clock, A, 0.2)
        self.told(clock, B, 0.2)
        self.told(clock, C, 9.0)
        assert clock.limit_s(C) == pytest.approx(0.4)
        clock.phase_s = 3.0
        assert clock.limit_s(C) == 3.0

    def test_rows_that_come_before_their_round_leave_the_floor(self):
        clock = RowClock(60.0)
        self.told(clock, A, -1.0)
        assert clock.limit_s(A) == FLOOR_S

    def test_never_beyond_the_hard_deadline(self):
        clock = RowClock(1.0)
        self.told(clock, A, 5.0)
        clock.phase_s = 30.0
        assert clock.limit_s(A) == 1.0

    def test_who_is_missed_is_not_waited_for_until_it_is_heard(self):
        clock = RowClock(1.0)
        for _ in range(MISSED_MAX):
            assert clock.awaits(A)
            clock.missed(A)
        assert not clock.awaits(A)
        clock.arrived(A, 3, 1.0)
        assert clock.awaits(A)


class TestOutbox:
    @pytest.fixture
    def box(self):
        posted = []
        box = Outbox(bytes(32), Desk(), Patience(5.0, 0), lambda peer, what, deadline: posted.append((peer, what)))
        box.posted = posted
        return box

    def test_of_what_came_up_meanwhile_only_the_newest_follows(self, box):
        for number in range(4):
            box.put(A, number)
        box.put(B, "other")
        assert box.posted == [(A, 0), (B, "other")]
        assert box.taken(A) == 0
        assert box.posted[-1] == (A, 3)
        assert box.replaced == 2

    def test_what_failed_is_repeated_unless_there_is_newer(self, box):
        box.put(A, "old")
        box.failed(A, "no answer")
        box.retry(A)
        assert box.posted == [(A, "old"), (A, "old")]
        box.put(A, "new")
        box.failed(A, "no answer")
        box.retry(A)
        assert box.posted[-1] == (A, "new")

    def test_one_that_vanished_is_left_alone_and_one_word_of_it_is_enough(self, box):
        box.put(A, "x")
        for _ in range(3):
            box.failed(A, "no answer")
            box.retry(A)
        assert box.is_idle
        box.put(A, "y")
        box.retry(A)
        before = len(box.posted)
        box.probes.seen(A)
        assert box.posted[before:] == [(A, "y")]

    def test_a_busy_one_gets_what_it_asked_for_and_is_not_blamed(self, box):
        box.put(A, "x")
        box.failed(A, "busy", after_s=2.0)
        assert box.patience.failures(A) == 0
        (effect,) = box.desk.take()
        assert effect.key == ("retry", A)
        assert 2.0 < effect.at <= 4.0


def rounds_of(emitted) -> Counter:
    return Counter(node for _, node, emit in emitted if emit.name == "round")


@pytest.mark.parametrize("rule", [Average(), Epidemic(2), PushSum(fanout=2)])
def test_all_end_and_come_near_each_other(kit, rule):
    nodes = kit.nodes(COMPLETE, rule, mode="semi_sync", rounds=40, closing=20)
    host, _ = kit.simulate(nodes)
    trace = host.run(500.0)
    assert trace.outcome == "stopped"
    assert {stop.code for stop in trace.stopped.values()} == {0}
    if isinstance(rule, PushSum):  # says whole models, which a dead zone leaves little of
        return
    models = torch.stack([host.party(node.id).job.local.x for node in nodes])
    assert float((models - models.mean(0)).norm(dim=1).max()) < 0.45 * float(models.norm(dim=1).mean())


def test_a_slow_machine_sets_nobodys_pace(kit):
    """A phase takes 20 ms; one machine takes eight times as long."""
    nodes = kit.nodes(RING, Average(), mode="semi_sync", rounds=60)
    calm, _ = kit.simulate(nodes)
    usual = calm.run(500.0).now
    host, emitted = kit.simulate(nodes, slow={nodes[0].id: 8.0})
    trace = host.run(500.0)
    assert trace.outcome == "stopped"
    ends = kit.times(emitted, "finished")
    assert max(ends.values()) < 2 * usual
    assert host.party(nodes[0].id).job.desk.report.last["skipped"] > 0


@pytest.mark.parametrize("fate", ["killed", pytest.param("cut off", marks=pytest.mark.slow)])
def test_one_that_vanishes_costs_the_others_a_few_moments(kit, fate):
    nodes = kit.nodes(RING, Average(), mode="semi_sync", rounds=100, timeout_s=2.0)
    at = 1.0
    crash = Faults(crashes=(Crash(nodes[2].id, at, None),))
    cut = Faults(partitions=(Partition((frozenset({nodes[2].id}),), at, 1e9),))
    host, emitted = kit.simulate(nodes, crash if fate == "killed" else cut)
    host.run(300.0)
    others = {node.id for node in nodes} - {nodes[2].id}
    ends = kit.times(emitted, "finished")
    assert others <= ends.keys()
    times = {node: [t for t, n, e in emitted if e.name == "round" and n == node] for node in others}
    pauses = [b - a for told in times.values() for a, b in pairwise(told) if a < ends[nodes[0].id]]
    assert max(pauses) < 2.0
    late = sum(bool(e.fields.get("late")) for t, n, e in emitted if e.name == "round" and n in others)
    assert 2 <= late <= 2 * (MISSED_MAX + 2)


def test_loss_and_a_restart(kit):
    nodes = kit.nodes(RING, Average(), mode="semi_sync", rounds=60, timeout_s=1.0)
    faults = Faults(request_loss=0.1, reply_loss=0.1, crashes=(Crash(nodes[1].id, 1.5, 0.5),))
    host, emitted = kit.simulate(nodes, faults)
    trace = host.run(500.0)
    assert trace.outcome == "stopped"
    assert {stop.code for stop in trace.stopped.values()} == {0}
    mixed = {n for _, n, e in emitted if e.name == "round" and e.fields["mixed"]}
    assert len(mixed) == len(nodes)
