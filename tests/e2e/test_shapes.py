"""Line, star, ring and grids over HTTP: everybody finishes, and nobody ever waits longer than a time-out."""

import pytest

TIMEOUT_S = 20.0


@pytest.mark.parametrize(
    ("num_nodes", "topology"), [(8, "line"), (8, "star"), (8, "ring"), (9, "torus"), (8, "hypercube")]
)
@pytest.mark.parametrize("rule", ["async", *(pytest.param(r, marks=pytest.mark.slow) for r in ("lockstep", "average"))])
def test_no_round_stalls(kit, tmp_path, num_nodes, topology, rule):
    pace = {"timeout_s": TIMEOUT_S, "mode": "async" if rule == "async" else "lockstep"}
    mix = {"rule": "average" if rule == "average" else "pairwise"}
    served = kit.serve(kit.document(num_nodes, topology, 15, pace=pace, mix=mix), tmp_path)
    served.check()
    assert served.longest_pause_s < TIMEOUT_S
    told = {emit.name for events in served.emitted.values() for _, emit in events}
    assert not told & {"late", "lost", "unreachable", "refused", "rejected", "absent"}
