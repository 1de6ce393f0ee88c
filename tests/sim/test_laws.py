"""The laws of core/party.py hold under every mix of faults, and a run depends on its seed alone."""

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.hosts.faults import Crash, Faults, Partition
from p2pfl.hosts.life import lanes
from p2pfl.hosts.sim import SimHost

probability = st.sampled_from([0.0, 0.1, 0.4])


@st.composite
def worlds(draw, nodes):
    crashes = [
        Crash(
            draw(st.sampled_from(nodes)),
            at=draw(st.floats(0.5, 4)),
            restart_after=draw(st.sampled_from([None, 0.0, 1.0])),
            after_effects=draw(st.sampled_from([None, 0, 1, 2])),
            disk=draw(st.sampled_from(["kept", "wiped", "rolled-back"])),
            copied_at=draw(st.floats(0, 0.5)),
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    start = draw(st.floats(0, 3))
    cut = Partition((frozenset(nodes[:2]), frozenset(nodes[2:4])), start, start + draw(st.floats(0, 3)))
    return Faults(
        request_loss=draw(probability),
        reply_loss=draw(probability),
        duplicate=draw(probability),
        corrupt=draw(probability),
        delay_s=draw(st.sampled_from([0.0, 0.01, 0.2])),
        jitter_s=draw(st.sampled_from([0.0, 0.05])),
        bytes_per_s=draw(st.sampled_from([float("inf"), 1e3])),
        partitions=(cut,),
        crashes=tuple(crashes),
        crash_rate=draw(st.sampled_from([0.0, 0.2])),
        clock_skew_s=draw(st.sampled_from([0.0, 1e6])),
        calm_after=draw(st.sampled_from([5.0, 20.0])),
    )


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_law_under_every_mix_of_faults(toys, data):
    faults = data.draw(worlds(toys.nodes))
    seed = data.draw(st.integers(0, 1000))
    persist_s = data.draw(st.sampled_from([0.0, 0.03]))
    host = SimHost(seed, faults, lanes(wire=0.02), persist_s=persist_s)
    guards = toys.chat(host)
    trace = host.run(max_events=50_000)

    # Each life's Guard has asserted "at most once" and the order; those that ended by a Stop lack nothing.
    assert trace.outcome == "stopped"
    ended = [guard for guard in guards if guard.events and guard._stopped]
    assert len(ended) >= len(trace.stopped)
    assert all(all(guard.sends.values()) for guard in ended)
    assert trace.counts["sent"] >= trace.counts.get("answered", 0) + trace.counts.get("failed", 0)


def test_without_a_crash_nothing_at_all_is_owed(toys):
    faults = Faults(request_loss=0.2, reply_loss=0.2, duplicate=0.2, corrupt=0.2, jitter_s=0.1, clock_skew_s=50)
    host = SimHost(3, faults, lanes(wire=0.02))
    guards = toys.chat(host)
    trace = host.run()
    assert trace.outcome == "stopped"
    assert all(guard.is_settled() for guard in guards)
    assert trace.counts["sent"] == trace.counts["answered"] + trace.counts["failed"]
    assert trace.owed == {}


def test_the_same_seed_gives_the_same_trace_and_another_seed_another(toys):
    faults = Faults(request_loss=0.1, duplicate=0.1, corrupt=0.1, jitter_s=0.05, crash_rate=0.1, calm_after=5)

    def run(seed, faults=faults):
        host = SimHost(seed, faults, persist_s=0.01)
        toys.chat(host)
        return host.run()

    assert run(1) == run(1)
    assert run(1).digest != run(2).digest
    assert run(1).digest != run(1, Faults()).digest


def test_a_run_cut_into_pieces_is_the_same_run(toys):
    def build():
        host = SimHost(5, Faults(request_loss=0.2, jitter_s=0.05))
        toys.chat(host)
        return host

    whole = build().run()
    pieces = build()
    assert pieces.run(until=1.0).outcome == "until"
    assert pieces.now == 1.0
    assert pieces.run(max_events=10).outcome == "events"
    assert pieces.run().digest == whole.digest
