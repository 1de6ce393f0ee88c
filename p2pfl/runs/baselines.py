"""What the network's accuracy is compared with: one machine with all data, and every node alone. Same model, same
training settings, as many gradient steps as a node does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan

import torch

from p2pfl.assemble.network import Shared
from p2pfl.assemble.splits import splits_of
from p2pfl.config import DataConfig, TrainConfig
from p2pfl.core.noise import derive, root
from p2pfl.learn.data import Held, SplitName, Splits
from p2pfl.learn.learner import NotPooled
from p2pfl.learn.part_learner import evaluate_with


@dataclass(frozen=True, slots=True)
class Baselines:
    """Accuracies on the common test set (None for regression, where losses count, and where nobody can have the data of
    all: then the loss is not a number)."""

    centralised: float | None
    alone: tuple[float | None, ...]
    centralised_loss: float
    alone_loss: tuple[float, ...]

    @property
    def alone_mean(self) -> float | None:
        known = [a for a in self.alone if a is not None]
        return sum(known) / len(known) if known else None


def compute_baselines(
    shared: Shared,
    held: Held,
    shares: Sequence[torch.Tensor],
    data: DataConfig,
    on_step: Callable[[int, int], None] = lambda done, of: None,
    alone: bool = True,
) -> Baselines:
    """Train 1 + N models, one after another, or only the first. `on_step` hears how many are done."""
    seed = shared.config.seed
    everything = torch.cat(list(shares)).sort().values
    jobs = [everything, *shares] if alone else [everything]
    results, names = [], list(shared.ids)
    for index, rows in enumerate(jobs):
        splits = splits_of(held, rows, data, seed, index)
        own = shared.of(names[index - 1]) if index and alone else shared
        results.append(_train(own, splits, shared.config.train, index))
        on_step(index + 1, len(jobs))
    (accuracy, loss), *others = results
    return Baselines(accuracy, tuple(a for a, _ in others), loss, tuple(b for _, b in others))


def _train(shared: Shared, splits: Splits, train: TrainConfig, index: int) -> tuple[float | None, float]:
    rounds = shared.config.pace.rounds
    try:
        learner = shared.learner(splits, train)
    except NotPooled:
        return None, nan
    steps = train.steps or max(1, round((train.epochs or 1) * len(splits.train) / train.batch_size))
    x = learner.start()
    state, key = learner.init(x), derive(root(shared.config.seed), "baseline", index)
    for round_ in range(rounds):
        trained = learner.train(x, state, None, steps, round_, key)
        x, state = trained.x, trained.state
    judged: SplitName = "test" if len(splits.test) else "train"
    result = evaluate_with(learner, x, state, judged)
    return result.accuracy, result.loss
