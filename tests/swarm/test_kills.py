"""Nodes killed at random moments, many of them between two effects of one handle, and started again from their disk."""

import pytest

from p2pfl.core import noise
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.runs.simulate import World

DRAWN = 90
KILLS = 50
WITHIN_S = 7.0


def killed(config, seed, persist_s):
    """Kills spread over nodes and time, most behind a few effects of a handle; some strike a node that is down."""
    rng = noise.generator(noise.derive(noise.root(seed), "kills"))
    keys = [entry.key for entry in config.nodes]
    crashes = tuple(
        Crash(
            keys[int(rng.integers(len(keys)))],
            at=float(rng.random() * WITHIN_S),
            restart_after=float(0.01 + rng.random() * 0.1),
            after_effects=int(rng.integers(0, 6)) if rng.random() < 0.7 else None,
        )
        for _ in range(DRAWN)
    )
    return World(faults=Faults(request_loss=0.05, reply_loss=0.05, crashes=crashes), persist_s=persist_s)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "topology", "persist_s"), [(1, "ring", 0.01), (2, "complete", 0.0)])
def test_fifty_kills(kit, seed, topology, persist_s):
    """No position is signed twice, no reference differs unnoticed, and everybody comes to the end."""
    config = kit.document(
        6,
        topology,
        120,
        seed,
        model={"args": {"hidden": [16]}},
        pace={"timeout_s": 1.0, "window": 4},
        mix={"clip": "off"},
        data={"partition": {"by": "dirichlet", "alpha": 0.5}},
    )
    played = kit.play(config, killed(config, seed, persist_s))
    played.check()
    assert played.trace.counts["crashed"] >= KILLS
    assert played.trace.emitted["resumed"] >= KILLS / 2
    lossless = kit.play(config, World())
    print(
        f"accuracy {played.accuracy:.4f} after {played.trace.counts['crashed']} kills, {lossless.accuracy:.4f} without"
    )
    assert played.accuracy >= lossless.accuracy - 0.02


def test_a_killed_node_goes_on_from_what_it_had(kit):
    config = kit.document(4, "ring", 40, model={"args": {"hidden": [8]}}, pace={"window": 5})
    victim = config.nodes[0]
    world = World(faults=Faults(crashes=(Crash(victim.key, at=1.5, restart_after=0.1),)))
    played = kit.play(config, world)
    played.check()
    told = [emit for emit in played.emitted[victim.name] if emit.name in ("round", "resumed")]
    at = next(index for index, emit in enumerate(told) if emit.name == "resumed")
    before, resumed, after = (told[i].fields["round"] for i in (at - 1, at, at + 1))
    assert before - 5 <= resumed <= before  # what it lost is at most the window it was in
    assert after > resumed
