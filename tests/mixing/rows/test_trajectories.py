"""Runs on quadratics against numbers worked out by hand, and what each rule's fixed point is.

Three nodes in a line, f_i(x) = (x - b_i)^2 / 2 with b = 0, 3, 6, learning rate 1/2, all starting at 0. The weights of
both edges are 1 / (1 + 2) = 1/3, so a round is: x_i <- x_i - (x_i - b_i + shift_i) / 2, then the mix.
"""

import pytest
import torch

from p2pfl.mixing import Average, Choco, GradientTracking, PushSum, QuasiGlobal

B = torch.tensor([[0.0], [3.0], [6.0]], dtype=torch.float64)


def line(kit, rule, rounds):
    net = kit.Network(rule, torch.zeros(3, 1, dtype=torch.float64))
    seen = []
    for _ in range(rounds):
        net.round(lambda node, x: x - B[node], 0.5, kit.metropolis("line", 3))
        seen.append([float(x) for x in net.x])
    return net, seen


def test_d_psgd_by_hand(kit):
    """Round 1: local (0, 3/2, 3); mixed (0 + 1/2, 3/2 - 1/2 + 1/2, 3 - 1/2). Round 2: local (1/4, 9/4, 17/4)."""
    _, seen = line(kit, Average(), 2)
    assert seen[0] == pytest.approx([1 / 2, 3 / 2, 5 / 2], abs=1e-15)
    assert seen[1] == pytest.approx([11 / 12, 9 / 4, 43 / 12], abs=1e-15)


def test_d_psgd_ends_beside_the_optimum(kit):
    """a = a/2 + (3 - a/2)/3 gives (3/2, 3, 9/2): the error that a constant learning rate leaves."""
    _, seen = line(kit, Average(), 80)
    assert seen[-1] == pytest.approx([3 / 2, 3, 9 / 2], abs=1e-12)


def test_gradient_tracking_by_hand(kit):
    """Round 1: as D-PSGD; directions (0, -3, -6), so c = (-1, 0, 1).

    Round 2: g + c = (1/2 - 1, -3/2, -7/2 + 1) = (-1/2, -3/2, -5/2); local (3/4, 9/4, 15/4); mixed (5/4, 9/4, 13/4);
    c = (-1 - 1/3, 0, 1 + 1/3). Round 3: g + c = (-1/12, -3/4, -17/12); local (31/24, 63/24, 95/24); mixed by 4/3 / 3.
    """
    net, seen = line(kit, GradientTracking(), 3)
    assert seen[0] == pytest.approx([1 / 2, 3 / 2, 5 / 2], abs=1e-15)
    assert seen[1] == pytest.approx([5 / 4, 9 / 4, 13 / 4], abs=1e-15)
    assert seen[2] == pytest.approx([31 / 24 + 4 / 9, 63 / 24, 95 / 24 - 4 / 9], abs=1e-15)
    assert float(net.states[0]["c"]) == pytest.approx(-4 / 3 - 2 / 9, abs=1e-15)  # directions differ by 2/3


def test_gradient_tracking_is_exact(kit):
    _, seen = line(kit, GradientTracking(), 250)
    assert seen[-1] == pytest.approx([3, 3, 3], abs=1e-9)


def test_quasi_global_momentum_is_the_papers_recursion(kit):
    """Lin et al. 2021, algorithm 1: m = beta m^ + g; x+ = mix(x - lr m); m^ <- mu m^ + (1 - mu) (x - x+) / lr."""
    rule, lr, w = QuasiGlobal(beta=0.8, mu=0.7), 0.5, kit.metropolis("line", 3)
    _, seen = line(kit, rule, 6)
    x, buffer = torch.zeros_like(B), torch.zeros_like(B)
    for expected in seen:
        after = w @ (x - lr * (rule.beta * buffer + (x - B)))
        buffer = rule.mu * buffer + (1 - rule.mu) * (x - after) / lr
        x = after
        assert expected == pytest.approx(x.flatten().tolist(), abs=1e-12)


def test_choco_is_the_papers_recursion_with_a_copy_per_neighbour(kit):
    """Koloskova et al. 2019, algorithm 2, not in its memory-efficient form; the codec keeps one value of two."""
    rule, w, n = Choco(gamma=0.5, dual_gain=0.0), kit.metropolis("ring", 6), 6
    target, hat = kit.random(n, 2, 1), torch.zeros(n, 2, dtype=torch.float64)
    net = kit.Network(rule, torch.zeros(n, 2, dtype=torch.float64))
    x = net.x.clone()
    for round_ in range(6):
        mask = torch.tensor([1.0, 0.0] if round_ % 2 else [0.0, 1.0], dtype=torch.float64)
        phases = net.train(lambda node, x: x - target[node], 0.2)
        net.mix(phases, net.say(phases, lambda node, v, mask=mask: v * mask), w)
        x = x - 0.2 * (x - target)
        hat = hat + (x - hat) * mask
        x = x + rule.gamma * (w @ hat - hat)
        assert torch.allclose(net.x, x, rtol=0, atol=1e-12)
        assert torch.allclose(torch.stack([s["hat"] for s in net.states]), hat, rtol=0, atol=1e-12)


def unlike(kit, rule, rounds=250, steps=3):
    """Eight nodes in a ring with unlike curvatures and optima, local steps, constant rate. -> distance to the optimum
    of the sum, and the disagreement."""
    n = 8
    curve = torch.linspace(0.5, 1.5, n, dtype=torch.float64).unsqueeze(1)
    b = kit.random(n, 3, 11)
    net, w = kit.Network(rule, torch.zeros(n, 3, dtype=torch.float64)), kit.metropolis("ring", n)
    for _ in range(rounds):
        net.round(lambda node, x: curve[node] * (x - b[node]), 0.1, w, steps)
    best = (curve * b).sum(0) / curve.sum()
    return float((net.x.mean(0) - best).abs().max()), kit.spread(net.x), net


def test_choco_with_drift_correction_reaches_the_optimum_of_the_sum(kit):
    distance, spread, net = unlike(kit, Choco(gamma=0.6, dual_gain=0.25))
    assert distance < 1e-6  # exact with local steps too: at rest no phase moves, so g_i + z_i = 0 and z sums to 0
    assert spread < 1e-6
    plain, plain_spread, _ = unlike(kit, Choco(gamma=0.6, dual_gain=0.0))
    assert plain_spread > 0.1
    assert plain > 1e-3
    phases = net.train(lambda node, x: torch.zeros_like(x), 0.0)  # at rest: nothing more to say, nothing moves
    assert net.say(phases).abs().max() < 1e-6


def test_gradient_tracking_with_local_steps_reaches_the_optimum_of_the_sum(kit):
    distance, spread, _ = unlike(kit, GradientTracking())
    assert distance < 1e-6
    assert spread < 1e-6


def pushed(kit, n, seed, fanout):
    """w[i, j]: j's row counts at i with 1 / (1 + fanout) if j drew i."""
    w, draw = torch.zeros(n, n, dtype=torch.float64), torch.Generator().manual_seed(seed)
    for j in range(n):
        others = [i for i in range(n) if i != j]
        for k in torch.randperm(n - 1, generator=draw)[:fanout]:
            w[others[int(k)], j] = 1 / (1 + fanout)
    return w


def total(net):
    """The conserved sum of m x."""
    return torch.stack([s["mass"] * x for s, x in zip(net.states, net.x, strict=True)]).sum(0)


def test_push_sum_keeps_mass_and_finds_the_mean_over_one_way_links(kit):
    n = 7
    net = kit.Network(PushSum(), kit.random(n, 4, 12))
    mean, errors = net.x.mean(0), kit.random(n, 4, 13)
    for round_ in range(60):
        w, phases = pushed(kit, n, round_, 2), net.idle()
        scale = 0.0 if round_ >= 20 else 1.0  # a codec that errs by whole units in the beginning
        rows = net.say(phases, lambda node, v, s=scale: v + s * errors[node])
        net.mix(phases, rows, w)
        assert float(sum(s["mass"] for s in net.states)) == pytest.approx(n, abs=1e-9)
        assert torch.allclose(total(net) / n, mean, rtol=0, atol=1e-9)
    assert torch.allclose(net.x, mean.expand_as(net.x), rtol=0, atol=1e-6)


def test_a_lost_push_takes_its_mass_along(kit):
    """The models are unbiased by loss: all still agree, on a mean of what is left."""
    n = 6
    net = kit.Network(PushSum(), torch.ones(n, 2, dtype=torch.float64))
    for round_ in range(30):
        w, phases = pushed(kit, n, round_, 1), net.idle()
        sent = w.sum(0)
        w[round_ % n] = 0.0  # this node hears nothing
        net.mix(phases, net.say(phases), w, given=sent)
    assert float(sum(s["mass"] for s in net.states)) < n - 1
    assert torch.allclose(net.x, torch.ones_like(net.x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("mass", "counts"), [(2.0, 1.0), (0.5, 1.0), (0.25, 0.5), (0.01, 0.02)])
def test_push_sums_step_enters_whole_unless_the_mass_is_small(kit, mass, counts):
    """Assran et al. 2019: n <- n - lr g(n / m); here times min(1, 2 m), so that no model moves by more than 2 lr g."""
    state = {"mass": torch.tensor(mass, dtype=torch.float64)}
    net = kit.Network(PushSum(boost=2.0), torch.tensor([[4.0]], dtype=torch.float64), [state])
    phases = net.train(lambda node, x: torch.ones_like(x), 0.1)
    assert float(net.say(phases)) == pytest.approx(mass * 4.0 - 0.1 * counts)
