"""HTTP and the simulator are one algorithm: in lockstep they give the same bits at every node."""

import pytest

from p2pfl.compress import CODECS

COARSE = {"share": 0.05, "dtype": "int8"}
"""Top-k with quantised values."""
CASES = [(rule, codec, {}) for rule in ("pairwise", "average") for codec in CODECS]
CASES += [(rule, "topk", COARSE) for rule in ("pairwise", "average")]
QUICK = ("deadzone", "fp32", "topk")
"""Codecs that every run of the tests takes; the others are slow ones'."""


@pytest.mark.parametrize(
    ("rule", "codec", "params"),
    [pytest.param(r, c, p, id="-".join((r, c, *p)), marks=() if c in QUICK else pytest.mark.slow) for r, c, p in CASES],
)
def test_http_equals_the_simulator(kit, rule, codec, params):
    """Every node's model bit for bit, and every edge's epoch, position and reference."""
    config = kit.document(mix={"rule": rule}, compress={"codec": codec, **params})
    simulated, entropy = kit.in_virtual_time(config)
    served = kit.over_http(config, entropy)
    assert served == simulated
    assert all(end.round == config.pace.rounds for end in served.values())
    for name, end in served.items():
        for peer, place in end.edges.items():
            other = next(entry.name for entry in config.nodes if entry.key.hex() == peer)
            mine = next(entry.key.hex() for entry in config.nodes if entry.name == name)
            assert served[other].edges[mine] == place
            assert place[1] > 0  # they did exchange


@pytest.mark.parametrize(
    "change",
    [{"train": {"lr": 0.1001}}, {"compress": {"codec": "deadzone", "c": 2.0}}, {"mix": {"dual_gain": 0.2501}}],
    ids=["learning rate", "quantiser's step", "gain of the drift correction"],
)
def test_the_comparison_sees_a_changed_step_size(kit, change):
    """The control: were a host a thousandth off, the test above would fail."""
    first, entropy = kit.in_virtual_time(kit.document(compress={"codec": "deadzone"}))
    served = kit.over_http(kit.document(**{"compress": {"codec": "deadzone"}, **change}), entropy)
    assert served != first
    assert kit.distance(served, first) > 0


def test_the_same_seed_gives_the_same_bits(kit):
    config = kit.document()
    assert kit.in_virtual_time(config) == kit.in_virtual_time(config)
