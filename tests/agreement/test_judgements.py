"""When a node judges its model: once for every `pace.evaluate` rounds, with or without neighbours, at either pace."""

from itertools import pairwise

import pytest

from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated


def judged(config, world: World | None = None) -> dict[str, list[int]]:
    """The rounds in which each node was judged, the last judgement included."""
    told: dict[str, list[int]] = {entry.name: [] for entry in config.nodes}

    def heard(outcome, emit):
        if emit.name == "evaluation" and emit.fields["split"] == "test":
            told[outcome.name].append(emit.fields["round"])

    assert run_simulation(build_simulation(config, world or World(), on_emit=heard)).outcome == "stopped"
    return told


@pytest.mark.parametrize("mode", ["lockstep", "async"])
def test_a_node_alone_is_judged_on_time(kit, mode):
    config = simulated(kit.document(pace={"mode": mode, "rounds": 5, "evaluate": 1}), 1)
    assert judged(config) == {"n0": [1, 2, 3, 4, 5]}


@pytest.mark.parametrize("family", ["ring", "star", "line"])
def test_in_lockstep_all_are_judged_in_the_same_rounds(kit, family):
    """Also those who have no partner in that round."""
    config = kit.document(pace={"rounds": 7, "evaluate": 2}, topology={"family": family})
    assert set(map(tuple, judged(config).values())) == {(2, 4, 6, 7)}


def test_at_the_async_pace_a_judgement_waits_for_the_next_exchange_but_not_for_ever(kit):
    config = kit.document(pace={"mode": "async", "rounds": 20, "evaluate": 4})
    told = judged(config, World(speeds=(1.0, 3.0)))
    for rounds in told.values():
        assert rounds == sorted(rounds)
        assert rounds[-1] == 20
        assert 3 <= len(rounds) <= 6
        assert all(0 <= later - one <= 4 + 3 for one, later in pairwise([0, *rounds]))
