"""Timers, lanes, clocks, and how a run ends."""

from math import inf

import pytest

from p2pfl.core.party import (
    Asked,
    Compute,
    Computed,
    Emit,
    Failed,
    Offered,
    Reply,
    Send,
    SetTimer,
    Started,
    Stop,
    Stopping,
    TimerFired,
    Verdict,
)
from p2pfl.errors import ConfigError
from p2pfl.hosts.faults import Faults
from p2pfl.hosts.life import lanes, paced
from p2pfl.hosts.sim import SimHost


def test_timers_fire_once_are_replaced_and_are_cleared(toys):
    effects = [
        SetTimer("once", 1.0),
        SetTimer("later", 1.0),
        SetTimer("later", 3.0),
        SetTimer("sooner", 9.0),
        SetTimer("sooner", 2.0),
        SetTimer("never", 1.0),
        SetTimer("never", inf),
        SetTimer("unknown", inf),
        SetTimer("past", -4.0),
    ]
    host = SimHost(1)
    lives = toys.talk(host, a=toys.once(*effects))
    host.run()
    fired = [(now, event.key) for now, event in lives["a"][0].seen if isinstance(event, TimerFired)]
    assert fired == [(0.0, "past"), (1.0, "once"), (2.0, "sooner"), (3.0, "later")]


def test_a_timer_may_be_set_again_when_it_fires(toys):
    host = SimHost(1)
    rule = lambda event, now: [SetTimer("t", now + 1)] if now < 5 else [Stop(0, "")]  # noqa: E731
    toys.talk(host, a=rule)
    trace = host.run()
    assert (trace.now, trace.handled) == (5.0, 6)


def test_of_two_handles_that_set_one_key_the_later_wins_whatever_waits_for_the_disk(toys):
    from p2pfl.core.party import Persist, Put

    def rule(event, now):
        match event:
            case Started():
                return [SetTimer("poke", 0.1), Persist((Put("state", b"k", b"v"),)), SetTimer("t", 5.0)]
            case TimerFired("poke"):
                return [SetTimer("t", 7.0)]
        return []

    host = SimHost(1, persist_s=0.5)
    lives = toys.talk(host, a=rule)
    host.run()
    assert lives["a"][0].seen[-1] == (7.0, TimerFired("t"))


def test_each_lane_does_one_task_at_a_time_in_order_and_the_two_run_side_by_side(toys):
    jobs = [toys.Job(1, "train"), toys.Job(2, "wire"), toys.Job(3, "train"), toys.Job(4, "wire")]
    host = SimHost(1, duration=lanes(train=10.0, wire=1.0))
    lives = toys.talk(host, a=toys.once(*map(Compute, jobs)))
    host.run()
    assert lives["a"][0].seen[1:] == [
        (1.0, Computed(jobs[1], 4)),
        (2.0, Computed(jobs[3], 8)),
        (10.0, Computed(jobs[0], 2)),
        (20.0, Computed(jobs[2], 6)),
    ]


def test_a_task_that_raises_becomes_one_line(toys):
    host = SimHost(1)
    lives = toys.talk(host, a=toys.once(Compute(toys.Job(-1)), Compute(toys.Job(1))))
    host.run()
    events = [event for _, event in lives["a"][0].seen[1:]]
    assert events == [Failed(toys.Job(-1), "ArithmeticError: below"), Computed(toys.Job(1), 2)]


def test_an_error_meant_for_people_comes_as_it_is(toys):
    class Refusing:
        def run(self, task):
            raise ConfigError("expected more data")

    host, seen = SimHost(1), []

    def rule(event, now):
        seen.append(event)
        return [Compute(toys.Job(1))] if isinstance(event, Started) else []

    host.add(toys.a, lambda: toys.Script(rule), Refusing(), toys.MemoryStore)
    host.run()
    assert seen[1] == Failed(toys.Job(1), "expected more data")


def test_nodes_have_their_own_speed(toys):
    host = SimHost(1, duration=paced(lanes(train=1.0), {toys.b: 3.0}))
    rule = toys.once(Compute(toys.Job(1, "train")))
    lives = toys.talk(host, a=rule, b=rule)
    host.run()
    assert [lives[name][0].seen[-1][0] for name in "ab"] == [1.0, 3.0]


def test_clocks_differ_between_nodes_and_between_lives_but_tell_the_same_time(toys):
    """now, timers and deadlines are in a life's own time; what lies between two instants is the same for all."""

    def rule(event, now):
        if isinstance(event, Started):
            return [SetTimer(("t", now), now + 0.1), toys.send(toys.c, key=now, deadline=now + 0.3)]
        return []

    for seed in range(20):
        host = SimHost(seed, Faults(clock_skew_s=1e6, request_loss=1.0))
        lives = toys.talk(host, a=rule, b=rule)
        trace = host.run()
        assert trace.now == pytest.approx(0.3)
        starts = []
        for name in "ab":
            (start, _), (fired, _), (failed, _) = lives[name][0].seen
            assert start + 0.1 <= fired == pytest.approx(start + 0.1)
            assert failed == pytest.approx(start + 0.3)
            starts.append(start)
        assert abs(starts[0] - starts[1]) > 1


def test_no_rounding_of_clocks_makes_a_timer_early(toys):
    def rule(event, now):
        match event:
            case Started():
                return [SetTimer(now + step / 7, now + step / 7) for step in range(1, 200)]
            case TimerFired(at):
                assert now >= at
        return []

    for seed in range(10):
        host = SimHost(seed, Faults(clock_skew_s=3.0))
        toys.talk(host, a=rule)
        assert host.run().handled == 200


def test_a_stall_is_reported_with_who_still_lives(toys):
    host = SimHost(1)
    toys.talk(host, a=toys.once(SetTimer("t", 4.0)), b=toys.once(Stop(3, "enough")))
    trace = host.run()
    assert (trace.outcome, trace.now, trace.live) == ("stalled", 4.0, (toys.a,))
    assert trace.stopped == {toys.b: Stop(3, "enough")}


def test_a_stall_is_seen_when_it_begins_not_at_a_deadline_that_no_longer_matters(toys):
    host = SimHost(1, Faults(delay_s=0.1))
    toys.talk(host, a=toys.once(toys.send(toys.b, deadline=1e6)), b=toys.reply(Verdict.ACCEPT))
    trace = host.run()
    assert trace.outcome == "stalled"
    assert trace.now == host.now == pytest.approx(0.2)


def test_the_bounds_of_a_run(toys):
    host = SimHost(1)
    toys.talk(host, a=lambda event, now: [SetTimer("t", now + 1)])
    assert host.run(until=10.5).handled == 11
    assert host.now == 10.5
    assert host.run(max_events=4).handled == 15
    assert host.run(max_events=0).outcome == "events"


def test_an_empty_world_has_stopped():
    assert SimHost(1).run().outcome == "stopped"


def test_nothing_happens_to_a_party_after_its_stop(toys):
    host = SimHost(1)
    late = [SetTimer("t", 1.0), Compute(toys.Job(1)), toys.send(toys.b), Stop(0, "bye")]
    lives = toys.talk(host, a=toys.once(*late), b=toys.accept())
    assert host.run().outcome == "stalled"
    assert len(lives["a"][0].seen) == 1


def test_a_reply_that_left_before_its_party_stopped_arrives(toys):
    host = SimHost(1)
    rule = lambda e, t: [Reply(e.token, Verdict.ACCEPT), Stop(0, "")] if isinstance(e, Offered) else []  # noqa: E731
    lives = toys.talk(host, a=toys.once(toys.send(toys.b)), b=rule)
    host.run()
    assert lives["a"][0].seen[-1][1].verdict is Verdict.ACCEPT


def test_a_node_may_start_late_and_is_asked_to_stop(toys):
    host = SimHost(1)
    seen = []

    def rule(event, now):
        seen.append((now, event))
        return [Stop(0, event.reason)] if isinstance(event, Stopping) else []

    host.add(toys.a, lambda: toys.Script(rule), toys.Doubling(), toys.MemoryStore, start=2.0)
    host.stop(toys.a, at=1.0)  # before it is there
    host.stop(toys.a, at=5.0, reason="evening")
    trace = host.run()
    assert [(now, type(event)) for now, event in seen] == [(2.0, Started), (5.0, Stopping)]
    assert trace.stopped == {toys.a: Stop(0, "evening")}


def test_a_reader_gets_an_answer_or_busy(toys):
    host, answers = SimHost(1), []

    def rule(event, now):
        match event:
            case Asked(token, what):
                return [Reply(token, Verdict.ACCEPT, (what.encode(), b"!"))]
            case Stopping():
                return [Stop(0, "")]
        return []

    toys.talk(host, a=rule, b=toys.once())
    host.ask(toys.a, "status", 1.0, lambda *answer: answers.append(answer))
    host.stop(toys.a, 2.0)
    host.ask(toys.a, "status", 3.0, lambda *answer: answers.append(answer))
    host.run()
    assert answers == [(Verdict.ACCEPT, b"status!"), (Verdict.BUSY, b"")]


def test_a_task_without_a_sensible_duration_is_a_bug(toys):
    host = SimHost(1, duration=lanes(wire=inf))
    toys.talk(host, a=toys.once(Compute(toys.Job(1))))
    with pytest.raises(AssertionError, match="duration"):
        host.run()


def test_a_node_is_added_once(toys):
    host = SimHost(1)
    toys.talk(host, a=toys.once())
    with pytest.raises(ValueError, match="there already"):
        toys.talk(host, a=toys.once())


def test_emits_are_counted_and_passed_on_in_the_worlds_time(toys):
    heard = []
    host = SimHost(1, Faults(clock_skew_s=1e3), on_emit=lambda *what: heard.append(what))
    emit = Emit("round", {"loss": 0.5})
    toys.talk(host, a=toys.once(emit, emit))
    assert host.run().emitted == {"round": 2}
    assert heard == [(0.0, toys.a, emit)] * 2


def test_a_send_to_oneself_is_a_send(toys):
    host = SimHost(1)
    lives = toys.talk(
        host,
        a=lambda e, t: (
            [Send("me", toys.a, "gossip", toys.message(), 10, 5.0)]
            if isinstance(e, Started)
            else toys.reply(Verdict.IGNORE)(e, t)
        ),
    )
    host.run()
    assert lives["a"][0].seen[-1][1].verdict is Verdict.IGNORE
