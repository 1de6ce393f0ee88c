"""What every neighbourhood rule promises: purity, absence, the mean, and one arithmetic in all three forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.mixing.rows import Heard, Phase

NAMES = [
    "average",
    "cell",
    "choco",
    "choco plain",
    "epidemic",
    "fedavg",
    "gradient_tracking",
    "similarity",
    "push_sum",
    "qg",
]
LINEAR = [name for name in NAMES if name not in ("push_sum", "similarity")]
KEEPS_THE_MEAN = ["average", "cell", "choco", "choco plain", "gradient_tracking", "qg"]
SIZE = 5


def started(kit, name, seed, n=6, family="ring"):
    """A network three rounds old, trained once more and not yet mixed; so no entry of a state is still zero."""
    net, w = kit.Network(kit.RULES[name], torch.zeros(n, SIZE, dtype=torch.float64)), kit.metropolis(family, n)
    pulls = kit.random(n, SIZE, seed)
    for _ in range(3):
        net.round(lambda node, x: x - pulls[node], 0.3, w, steps=2)
    phases = net.train(lambda node, x: x - pulls[node], 0.3, steps=2)
    return net, w, phases


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_changes_no_argument_and_keeps_its_states_shape(kit, name):
    net, w, phases = started(kit, name, 1)
    rows = net.say(phases)
    heard = net.hear(rows, w, kit.off_diagonal(w).sum(0))
    before = [net.x.clone(), rows.clone(), [{k: v.clone() for k, v in s.items()} for s in net.states]]
    fresh = net.rule.init(net.x[0])
    for node in range(len(net.x)):
        state, x = net.rule.mix(net.states[node], net.x[node], heard[node], phases[node])
        assert {k: (v.shape, v.dtype) for k, v in state.items()} == {k: (v.shape, v.dtype) for k, v in fresh.items()}
        assert (x.shape, x.dtype) == (net.x[node].shape, net.x.dtype)
        shift = net.rule.shift(state)
        assert shift is None or shift.shape == x.shape
    assert rows.shape == (len(net.x), net.rule.vectors * SIZE)
    assert torch.equal(net.x, before[0])
    assert torch.equal(rows, before[1])
    for state, old in zip(net.states, before[2], strict=True):
        assert all(torch.equal(state[k], old[k]) for k in old)


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_of_zero_is_an_absent_row(kit, name):
    net, w, phases = started(kit, name, 2)
    rows = net.say(phases)
    for node, heard in enumerate(net.hear(rows, w, kit.off_diagonal(w).sum(0))):
        junk = torch.full((3, rows.shape[1]), 1e6, dtype=torch.float64)
        padded = Heard(
            heard.own,
            torch.cat([junk[:1], heard.inbox, junk[1:]]),
            torch.cat([torch.zeros(1), heard.weights, torch.zeros(2)]).double(),
            heard.given,
            torch.cat([torch.ones(1, heard.notes.shape[1]), heard.notes, torch.ones(2, heard.notes.shape[1])]),
        )
        one = net.rule.mix(net.states[node], net.x[node], heard, phases[node])
        two = net.rule.mix(net.states[node], net.x[node], padded, phases[node])
        assert torch.allclose(one[1], two[1], rtol=0, atol=1e-12)
        assert all(torch.allclose(one[0][k], two[0][k], rtol=0, atol=1e-12) for k in one[0])


@pytest.mark.parametrize("name", NAMES)
def test_nobody_heard_is_no_error(kit, name):
    net, w, phases = started(kit, name, 3)
    rows, none = net.say(phases), torch.zeros_like(w)
    net.mix(phases, rows, none)
    assert torch.isfinite(net.x).all()


@pytest.mark.parametrize("name", NAMES)
def test_mapped_over_nodes_it_is_the_same(kit, name):
    """`torch.func.vmap` of outgoing and mix, and `mix_all` where there is one, agree with each node's own."""
    net, w, phases = started(kit, name, 4, n=8)
    rows, states = net.say(phases), {k: torch.stack([s[k] for s in net.states]) for k in net.states[0]}
    stacked = Phase(torch.stack([p.before for p in phases]), torch.stack([p.work for p in phases]))
    assert torch.equal(torch.func.vmap(net.rule.outgoing)(states, net.x, stacked), rows)
    heards = net.hear(rows, w, kit.off_diagonal(w).sum(0))
    heard = Heard(*(torch.stack(parts) for parts in zip(*heards, strict=True)))
    mapped = torch.func.vmap(net.rule.mix)(states, net.x, heard, stacked)
    results = [mapped]
    if hasattr(net.rule, "mix_all"):
        results.append(net.rule.mix_all(states, net.x, net.crowd(rows, w), stacked))
    net.mix(phases, rows, w)
    for state, x in results:
        assert torch.allclose(x, net.x, rtol=0, atol=1e-12)
        for key, value in state.items():
            assert torch.allclose(value, torch.stack([s[key] for s in net.states]), rtol=0, atol=1e-12)


def test_linear_rules_offer_a_product(kit):
    assert [name for name, rule in kit.RULES.items() if hasattr(rule, "mix_all")] == LINEAR


@pytest.mark.parametrize("name", KEEPS_THE_MEAN)
@settings(max_examples=15)
@given(seed=st.integers(0, 1 << 30), family=st.sampled_from(["ring", "star", "line", "complete"]), n=st.integers(3, 9))
def test_the_mean_over_nodes_is_kept_whatever_the_codec_leaves_out(kit, name, seed, family, n):
    net, w, phases = started(kit, name, seed, n, family)
    errors = kit.random(n, SIZE * net.rule.vectors, seed + 1)
    mean = net.x.mean(0)
    net.mix(phases, net.say(phases, lambda node, v: v + errors[node]), w)
    assert torch.allclose(net.x.mean(0), mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["choco", "gradient_tracking"])
def test_the_drift_corrections_sum_to_zero(kit, name):
    net, w, phases = started(kit, name, 5)
    errors = kit.random(len(net.x), SIZE * net.rule.vectors, 6)
    net.mix(phases, net.say(phases, lambda node, v: v + errors[node]), w)
    total = torch.stack([net.rule.shift(state) for state in net.states]).sum(0)
    assert total.abs().max() < 1e-12
    assert max(float(net.rule.shift(state).abs().max()) for state in net.states) > 1e-3


@pytest.mark.parametrize("name", ["average", "qg", "gradient_tracking", "push_sum"])
@pytest.mark.parametrize(("family", "n"), [("ring", 8), ("torus", 9), ("complete", 5)])
def test_disagreement_shrinks_at_least_by_the_spectral_bound(kit, name, family, n):
    """On regular graphs, where the weights of push-sum are the others'."""
    w = kit.metropolis(family, n)
    net = kit.Network(kit.RULES[name], kit.random(n, SIZE, 7))
    for _ in range(4):
        before = kit.spread(net.x)
        phases = net.idle()
        net.mix(phases, net.say(phases), w)
        assert kit.spread(net.x) <= kit.contraction(w) * before + 1e-12


def test_choco_with_a_lossless_codec_shrinks_by_the_bound_of_its_step(kit):
    rule, n = kit.RULES["choco plain"], 8
    w = kit.metropolis("ring", n)
    slow = (1 - rule.gamma) * torch.eye(n, dtype=torch.float64) + rule.gamma * w
    net = kit.Network(rule, torch.zeros(n, SIZE, dtype=torch.float64))
    net.x = kit.random(n, SIZE, 8)
    for _ in range(4):
        before = kit.spread(net.x)
        phases = net.idle()
        net.mix(phases, net.say(phases), w)
        assert kit.spread(net.x) <= kit.contraction(slow) * before + 1e-12


def test_fedavg_gives_everybody_the_mean(kit):
    net, w, phases = started(kit, "fedavg", 9, n=5, family="complete")
    mean = net.x.mean(0)
    net.mix(phases, net.say(phases), w)
    assert torch.allclose(net.x, mean.expand_as(net.x), rtol=0, atol=1e-13)


def test_epidemic_stays_inside_what_was_heard(kit):
    net, w, phases = started(kit, "epidemic", 10)
    rows = net.say(phases)
    low, high = rows.min(0).values, rows.max(0).values
    net.mix(phases, rows, w)
    assert (net.x >= low - 1e-12).all()
    assert (net.x <= high + 1e-12).all()
