"""Whatever the network, the crashes and the liars do: one log, and it goes on when they stop."""

from typing import Any

import pytest
from finality_adversaries import ALL, DoubleVoter, Equivocator, Forker, StaleProposer
from finality_mutants import (
    EagerFinality,
    FinalizeAfterNullify,
    NullifyAfterFinalize,
    SkipWithoutProof,
    SmallQuorum,
)
from finality_plans import hostile, plan_for
from finality_swarm import Machine, Plan, Stuck, Violation, World

from p2pfl.ledger.blocks.rule import VotingRule

SEEDS_QUICK, SEEDS_DEFAULT, SEEDS_ALL, SEEDS_MUTANT = 15, 50, 1000, 20


def agreed(world: World) -> None:
    """All honest nodes have the same final blocks."""
    honest = [machine for machine in world.machines if machine.honest]
    for machine in honest:
        assert machine.finals == world.agreed


def is_violated(seed: int, plan: Plan, rule: VotingRule) -> bool:
    try:
        World(seed, plan, rule).run()
    except Violation:
        return True
    except Stuck:  # not what is looked for here
        return False
    return False


@pytest.mark.parametrize(
    "seed", [*range(SEEDS_QUICK), *(pytest.param(s, marks=pytest.mark.slow) for s in range(SEEDS_QUICK, SEEDS_DEFAULT))]
)
def test_schedule(seed: int) -> None:
    agreed(World(seed, plan_for(seed)).run())


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(SEEDS_DEFAULT, SEEDS_ALL))
def test_schedule_of_the_soak(seed: int) -> None:
    agreed(World(seed, plan_for(seed)).run())


@pytest.mark.parametrize("adversary", ALL, ids=lambda a: a.__name__)
def test_each_adversary_in_a_hostile_world(adversary: type[Machine]) -> None:
    agreed(World(1, hostile(1, adversary)).run())


@pytest.mark.parametrize("adversary", [Equivocator, DoubleVoter, Forker])
def test_who_contradicts_itself_is_convicted(adversary: type[Machine]) -> None:
    world = World(3, hostile(3, adversary)).run()
    assert world.convicted == {world.machines[3].node}


def test_a_machine_that_tries_more_is_held_back_by_the_rule() -> None:
    agreed(World(0, hostile(0, DoubleVoter, finality=EagerFinality)).run())


@pytest.mark.parametrize(
    ("rule", "adversary", "more"),
    [
        (VotingRule, DoubleVoter, {"forgetful": True}),
        (FinalizeAfterNullify, DoubleVoter, {}),
        (NullifyAfterFinalize, DoubleVoter, {"finality": EagerFinality}),
        (SkipWithoutProof, StaleProposer, {}),
        (SmallQuorum, Equivocator, {}),
    ],
    ids=["journal lost", "finalize after nullify", "nullify after finalize", "skip without proof", "small quorum"],
)
def test_a_mutant_is_caught(rule: type[VotingRule], adversary: type[Machine], more: dict[str, Any]) -> None:
    """Within 20 seeds, by two final blocks at one height, a halted node, or the conviction of an honest one."""
    assert any(is_violated(seed, hostile(seed, adversary, **more), rule()) for seed in range(SEEDS_MUTANT))


def test_without_a_quorum_nothing_is_final_and_nothing_is_lost() -> None:
    """Three validators, one gone: the others write on. It comes back: all of that becomes final."""
    world = World(5, Plan(n=3, crashes=0, partitions=0, drop=0.0, slow=0.0, entries=0, heal_s=40.0))
    world.start()
    world.at(2.0, world.machines[0].crash)
    for at in range(3, 30):
        world.at(float(at), world.machines[1 + at % 2].write, at)
    while world.now < 38.0:
        world.advance()
    assert not world.logged
    world.plan.heal_s = 0.0
    world.heal()
    while not world.done():
        world.advance()
    assert sum(len(machine.written) for machine in world.machines) == len(world.logged) == 30


def test_an_idle_network_is_quiet() -> None:
    """When all is final, only the ticks of sync go on, however long it takes."""
    world = World(2, Plan(n=4, crashes=0, partitions=0, drop=0.0, slow=0.0)).run()
    while any(machine.replica and machine.replica.finality.busy for machine in world.machines):
        world.advance()
    views = [machine.replica.finality.view for machine in world.machines if machine.replica]
    start, sent = world.now, world.sent
    while world.now < start + 100.0:
        world.advance()
    assert views == [machine.replica.finality.view for machine in world.machines if machine.replica]
    assert world.sent - sent <= 4 * 2 * 101  # a digest and a status per node and tick
