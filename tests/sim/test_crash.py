"""A node dies at the worst moment, and what it knows when it is back."""

import pytest

from p2pfl.core.party import (
    Answered,
    Compute,
    Computed,
    Offered,
    Persist,
    Put,
    Received,
    Reply,
    SendFailed,
    SetTimer,
    Started,
    Stop,
    TimerFired,
    Verdict,
)
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.hosts.sim import SimHost


def keep(value):
    return Persist((Put("state", b"k", value),))


def restored(life):
    return life.of(Started)[0].restored.get("state", {}).get(b"k")


@pytest.mark.parametrize("persist_s", [0.0, 0.25])
@pytest.mark.parametrize(
    ("after_effects", "is_kept", "is_sent"), [(0, False, False), (1, True, False), (2, True, True)]
)
def test_a_crash_between_persist_and_send(toys, after_effects, is_kept, is_sent, persist_s):
    """What is known outside is remembered inside; what is remembered need not be known."""

    def rule(event, now):
        match event:
            case Started() if now == 0:
                return [SetTimer("go", 0.5)]
            case TimerFired("go"):
                return [keep(b"v"), toys.send(toys.b), SetTimer("t", 50.0)]
        return []

    crash = Crash(toys.a, at=0.4, after_effects=after_effects)
    host = SimHost(1, Faults(crashes=(crash,)), persist_s=persist_s)
    lives = toys.talk(host, a=rule, b=toys.accept())
    trace = host.run()
    assert trace.counts["crashed"] == 1
    assert (restored(lives["a"][1]) == b"v") is is_kept
    assert bool(lives["b"][0].of(Offered)) is is_sent


def test_a_send_waits_for_the_disk_and_other_handles_do_not(toys):
    def rule(event, now):
        match event:
            case Started():
                return [
                    SetTimer("other", 0.1),
                    toys.send(toys.b, key="before"),
                    keep(b"v"),
                    toys.send(toys.b, key="after"),
                ]
            case TimerFired("other"):
                return [toys.send(toys.b, key="meanwhile")]
        return []

    host = SimHost(1, Faults(delay_s=0.0), persist_s=1.0)
    lives = toys.talk(host, a=rule, b=toys.reply(Verdict.ACCEPT))
    host.run()
    answers = [(now, event.key) for now, event in lives["a"][0].seen if isinstance(event, Answered)]
    assert answers == [(0.0, "before"), (0.1, "meanwhile"), (1.0, "after")]


def test_what_waits_for_the_disk_dies_with_its_node(toys):
    crash = Crash(toys.a, at=0.5, restart_after=0.0)
    host = SimHost(1, Faults(crashes=(crash,)), persist_s=1.0)
    lives = toys.talk(
        host, a=lambda e, t: toys.once(keep(b"v"), toys.send(toys.b))(e, t) if t < 0.5 else [], b=toys.accept()
    )
    host.run()
    assert restored(lives["a"][1]) is None
    assert not lives["b"][0].of(Offered)


def test_a_stop_waits_for_the_disk(toys):
    def rule(event, now):
        match event:
            case Offered(token):
                return [keep(b"v"), Reply(token, Verdict.ACCEPT), SetTimer("stop", now + 0.1)]
            case TimerFired("stop"):
                return [Stop(0, "bye")]
        return []

    host = SimHost(1, persist_s=1.0)
    lives = toys.talk(host, a=toys.once(toys.send(toys.b)), b=rule)
    trace = host.run()
    assert lives["a"][0].of(Answered)
    assert trace.stopped == {toys.b: Stop(0, "bye")}
    assert host.store(toys.b).load() == {"state": {b"k": b"v"}}


def test_all_that_was_under_way_vanishes(toys):
    def rule(event, now):
        if isinstance(event, Started) and now == 0:
            return [SetTimer("t", 2.0), Compute(toys.Job(1)), toys.send(toys.b, deadline=2.0), toys.send(toys.b, key=2)]
        return []

    host = SimHost(1, Faults(crashes=(Crash(toys.a, at=0.005, restart_after=0.5),)))
    lives = toys.talk(host, a=rule, b=toys.accept())
    trace = host.run()
    first, second = lives["a"]
    assert [type(event) for _, event in first.seen] == [Started]
    assert [type(event) for _, event in second.seen] == [Started]
    assert len(lives["b"][0].of(Received)) == 2  # they were on their way, and nobody is there for the answers
    assert trace.counts["stale"] == 2
    assert trace.outcome == "stalled"


def test_a_new_life_has_new_entropy_and_the_old_disk(toys):
    host = SimHost(1, Faults(crashes=(Crash(toys.a, at=1.0),)))
    lives = toys.talk(host, a=toys.once(keep(b"v")))
    host.run()
    first, second = (life.of(Started)[0] for life in lives["a"])
    assert len(first.entropy) == len(second.entropy) == 32
    assert first.entropy != second.entropy
    assert (first.restored, second.restored) == ({}, {"state": {b"k": b"v"}})
    assert host.party(toys.a) is lives["a"][1]


@pytest.mark.parametrize(
    ("disk", "copied_at", "expected"),
    [("kept", 0.0, b"3"), ("wiped", 0.0, None), ("rolled-back", 1.5, b"2"), ("rolled-back", 0.0, None)],
)
def test_the_fate_of_the_disk(toys, disk, copied_at, expected):
    def rule(event, now):
        match event:
            case Started() if now == 0:
                return [keep(b"1"), SetTimer(b"2", 1.0), SetTimer(b"3", 2.0)]
            case TimerFired(value):
                return [keep(value)]
        return []

    crash = Crash(toys.a, at=2.5, disk=disk, copied_at=copied_at)
    host = SimHost(1, Faults(crashes=(crash,)))
    lives = toys.talk(host, a=rule)
    host.run()
    assert restored(lives["a"][1]) == expected


def test_a_node_that_never_comes_back_is_not_waited_for(toys):
    host = SimHost(1, Faults(crashes=(Crash(toys.a, at=1.0, restart_after=None),)))
    lives = toys.talk(host, a=toys.once(SetTimer("t", 5.0)), b=toys.once(Stop(0, "")))
    trace = host.run()
    assert (trace.outcome, trace.now, trace.live) == ("stopped", 0.0, ())
    assert len(lives["a"]) == 1


def test_a_crash_of_a_node_that_is_down_or_has_stopped_is_none(toys):
    crashes = (Crash(toys.a, at=1.0, restart_after=1.0), Crash(toys.a, at=1.5), Crash(toys.b, at=1.0))
    host = SimHost(1, Faults(crashes=crashes))
    lives = toys.talk(host, a=toys.once(), b=toys.once(Stop(0, "")))
    assert host.run().counts["crashed"] == 1
    assert (len(lives["a"]), len(lives["b"])) == (2, 1)


def test_a_handle_with_too_few_effects_is_spared(toys):
    """The crash waits for a handle with more than two effects."""

    def rule(event, now):
        match event:
            case Started():
                return [SetTimer("one", now + 1), SetTimer("three", now + 2)]
            case TimerFired("one"):
                return [keep(b"0"), keep(b"1")]
            case TimerFired("three"):
                return [keep(b"2"), keep(b"3"), keep(b"4")]
        return []

    host = SimHost(1, Faults(crashes=(Crash(toys.a, at=0.5, after_effects=2, restart_after=None),)))
    toys.talk(host, a=rule)
    assert host.run().now == 2.0
    assert host.store(toys.a).load() == {"state": {b"k": b"3"}}


def test_a_sender_learns_that_its_receiver_died(toys):
    crash = Crash(toys.b, at=1.0, restart_after=None)
    host = SimHost(1, Faults(delay_s=0.1, crashes=(crash,)))
    lives = toys.talk(host, a=toys.once(toys.send(toys.b)), b=lambda event, now: [])
    host.run()
    assert lives["a"][0].seen[-1] == (1.1, SendFailed("k", "connection broken"))


def test_a_task_of_a_former_life_is_never_run(toys):
    class Counting:
        runs = 0

        def run(self, task):
            self.runs += 1

    host, work = SimHost(1, Faults(crashes=(Crash(toys.a, at=0.001),))), Counting()
    seen = []

    def rule(event, now):
        seen.append(event)
        return [Compute(toys.Job(1)), Compute(toys.Job(2))] if isinstance(event, Started) else []

    host.add(toys.a, lambda: toys.Script(rule), work, toys.MemoryStore)
    host.run()
    assert work.runs == 2
    assert sum(isinstance(event, Computed) for event in seen) == 2


def test_the_dead_leave_nothing_on_the_agenda(toys):
    late = [SetTimer("t", 1e6), Compute(toys.Job(1)), toys.send(toys.b, deadline=1e6)]
    crash = Crash(toys.a, at=1.0, restart_after=None)
    host = SimHost(1, Faults(crashes=(crash,)), duration=lambda node, task: 1e6)
    toys.talk(host, a=toys.once(*late), b=toys.once())
    assert host.run().outcome == "stalled"
    assert host.now == 1.0


def test_the_random_crash_drawn_for_one_life_does_not_strike_the_next(toys):
    """One a second are drawn, for five seconds, however often the node is killed besides."""
    listed = tuple(Crash(toys.a, at=0.05 * step, restart_after=0.0) for step in range(1, 100))
    host = SimHost(1, Faults(crashes=listed, crash_rate=1.0, restart_s=0.0, calm_after=5.0))
    toys.talk(host, a=toys.once())
    assert 0 < host.run().counts["crashed"] - len(listed) < 20
