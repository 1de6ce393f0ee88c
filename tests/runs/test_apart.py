"""Models trained on shares alone: they are the built-in learner's, and learn."""

import pytest
import torch

import p2pfl
from p2pfl.core.noise import derive, root
from p2pfl.runs.apart import train_apart
from p2pfl.runs.dense import DenseRun

DOCUMENT = {
    "model": {"name": "linear"},
    "pace": {"mode": "lockstep", "rounds": 3, "evaluate": 0},
    "train": {"steps": 2, "optimizer": "momentum", "lr": 0.05},
}


def test_each_share_gives_what_a_learner_alone_gives() -> None:
    run = p2pfl.simulate(DOCUMENT, engine="dense", nodes=3).followed.run
    assert isinstance(run, DenseRun)
    heard: list[tuple[int, int]] = []
    models = train_apart(run.shared, run.held, run.shares, on_round=lambda done, of: heard.append((done, of)))
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert len(models) == 3
    from p2pfl.assemble.splits import splits_of

    config = run.shared.config
    for number in range(3):
        splits = splits_of(run.held, run.shares[number], config.data, config.seed, number)
        learner = run.shared.learner(splits, config.train)
        x = learner.start()
        state = learner.init(x)
        for round_ in range(3):
            done = learner.train(x, state, None, 2, round_, derive(root(config.seed), "apart", number))
            x, state = done.x, done.state
        assert torch.allclose(models[number], x, atol=1e-5)


@pytest.mark.parametrize("steps", [4])
def test_more_steps_learn_more(steps: int) -> None:
    run = p2pfl.simulate(DOCUMENT, engine="dense", nodes=3).followed.run
    assert isinstance(run, DenseRun)
    everything = [torch.cat(list(run.shares)).sort().values]
    few = train_apart(run.shared, run.held, everything, 1)[0]
    many = train_apart(run.shared, run.held, everything, 10 * steps)[0]
    model, test = run.shared.model, run.held.test

    def right(x: torch.Tensor) -> float:
        return float((model.call(x, test.x).argmax(1) == test.y).float().mean())

    assert right(many) > right(few)
