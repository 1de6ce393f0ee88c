"""A seeded swarm: small networks in bad worlds. All finish, all feeds verify, and a seed gives one trace.

The seed is in the test's name: `pytest "tests/swarm/test_seeds.py::test_a_bad_world[7]"` plays world 7 again.
"""

import pytest

from p2pfl.core import noise
from p2pfl.hosts.faults import Faults, Partition
from p2pfl.runs.simulate import World

QUICK, SLOW, NIGHTLY = range(6), range(6, 20), range(20, 200)
ROUNDS = 12
SHAPES = ("ring", "line", "star", "complete", "exponential", "small-world")


def draw(kit, seed):
    """A network and a world from the seed: half of the faults are off in each, so that they meet in all mixes."""
    rng = noise.generator(noise.derive(noise.root(seed), "swarm"))

    def perhaps(most):
        return float(rng.random() * most) if rng.random() < 0.5 else 0.0

    num_nodes = int(rng.integers(5, 9))
    config = kit.document(
        num_nodes,
        SHAPES[int(rng.integers(len(SHAPES)))],
        ROUNDS,
        seed,
        model={"args": {"hidden": [8]}},
        train={"steps": 2, "batch_size": 16},
        pace={"timeout_s": 1.0, "window": int(rng.integers(1, 6))},
        mix={"clip": "off"},
        compress={"codec": ("deadzone", "int8", "topk")[int(rng.integers(3))]},
    )
    keys = [entry.key for entry in config.nodes]
    start = float(rng.random())
    cut = Partition((frozenset(keys[: num_nodes // 2]),), start, start + 2.0)
    faults = Faults(
        request_loss=perhaps(0.4),
        reply_loss=perhaps(0.4),
        duplicate=perhaps(0.3),
        corrupt=perhaps(0.1),
        delay_s=0.001 + perhaps(0.1),
        jitter_s=perhaps(0.1),
        bytes_per_s=1e5 if rng.random() < 0.3 else float("inf"),
        partitions=(cut,) if rng.random() < 0.3 else (),
        crash_rate=perhaps(0.2),
        restart_s=0.05 + perhaps(2.0),
        clock_skew_s=perhaps(1000.0),
        calm_after=60.0,
    )
    speeds = tuple(float(2.0 ** rng.integers(0, 4)) for _ in range(num_nodes))
    return config, World(speeds=speeds, faults=faults, persist_s=perhaps(0.02))


def check(kit, seed):
    config, world = draw(kit, seed)
    played = kit.play(config, world)
    played.check()
    return played


@pytest.mark.parametrize("seed", [*QUICK, *(pytest.param(seed, marks=pytest.mark.slow) for seed in SLOW)])
def test_a_bad_world(kit, seed):
    check(kit, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", NIGHTLY)
def test_another_bad_world(kit, seed):
    check(kit, seed)


@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_gives_one_trace(kit, seed):
    first, second = check(kit, seed), check(kit, seed)
    assert first.trace.digest == second.trace.digest
    assert first.trace.counts == second.trace.counts
    assert first.summary == second.summary


def test_another_seed_gives_another_trace(kit):
    assert check(kit, 3).trace.digest != check(kit, 4).trace.digest
