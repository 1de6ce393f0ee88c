"""Who was in the training data? Guesses from a trained model, and how good they are. Knows models and examples.

`by_loss`: an example that the model knows well was in it (Yeom et al. 2018). `by_shadows`: the same, against what
models that were trained without and with the example say of it: a likelihood ratio for each (LiRA; Carlini et al. 2022,
algorithm 1, with the Gaussians' deviations shared by all examples, as the authors advise for few shadow models).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.learn.data import Data
from p2pfl.learn.flat import FlatModel

FALSE_ALARMS = 0.05
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Guesses:
    """auc: 0.5 is chance. advantage: the best of true minus false alarms over all thresholds. caught: share of the
    members that are found at FALSE_ALARMS false alarms. chance: the advantage that 95 % of mere luck stays below."""

    auc: float
    advantage: float
    caught: float
    chance: float


def by_loss(model: FlatModel, x: Tensor, data: Data) -> Scores:
    """Larger where the model is surer of the right class: the logit of its probability."""
    model.load(x)
    model.set_training(False)
    with torch.no_grad():
        outputs = torch.cat([model.module(batch) for batch in torch.split(data.x.to(model.device, model.dtype), 1024)])
    right = outputs.double().softmax(-1).gather(-1, data.y.to(outputs.device).unsqueeze(-1)).squeeze(-1)
    right = right.clamp(1e-12, 1 - 1e-12).cpu()
    return np.asarray((right.log() - (1 - right).log()).numpy(), np.float64)


def by_shadows(
    model: FlatModel,
    x: Tensor,
    data: Data,
    train: Callable[[Data, int], Tensor],
    shadows: int,
    on_step: Callable[[int, int], None] = lambda done, of: None,
) -> Scores:
    """log p(score | in) - log p(score | out) for each example of `data`; `train` makes a model of a random half."""
    generator = np.random.default_rng(1)
    told, inside = [], []
    for number in range(shadows):
        rows = generator.permutation(len(data))[: len(data) // 2]
        held = np.zeros(len(data), bool)
        held[rows] = True
        told.append(by_loss(model, train(data.subset(torch.from_numpy(np.sort(rows))), number), data))
        inside.append(held)
        on_step(number + 1, shadows)
    scores, members = np.stack(told), np.stack(inside)
    means = [_mean(scores, side) for side in (members, ~members)]
    deviation = [
        max(float(np.sqrt(np.mean((scores - m)[side] ** 2))), 1e-6)
        for m, side in zip(means, (members, ~members), strict=True)
    ]
    seen = by_loss(model, x, data)
    likely = [-0.5 * ((seen - m) / s) ** 2 - np.log(s) for m, s in zip(means, deviation, strict=True)]
    return np.asarray(likely[0] - likely[1], np.float64)


def judge_guesses(members: Scores, others: Scores) -> Guesses:
    """How well larger scores tell members from others."""
    thresholds = np.sort(np.concatenate([members, others]))
    hits = 1 - np.searchsorted(np.sort(members), thresholds) / len(members)
    alarms = 1 - np.searchsorted(np.sort(others), thresholds) / len(others)
    ranks = np.searchsorted(np.sort(others), members, "left") + np.searchsorted(np.sort(others), members, "right")
    quiet = hits[alarms <= FALSE_ALARMS]
    chance = 1.36 * np.sqrt(1 / len(members) + 1 / len(others))  # Kolmogorov and Smirnov's at 95 %
    return Guesses(
        auc=float(ranks.mean() / (2 * len(others))),
        advantage=float(max((hits - alarms).max(), 0.0)),
        caught=float(quiet.max()) if len(quiet) else 0.0,
        chance=float(chance),
    )


def _mean(scores: Scores, side: NDArray[np.bool_]) -> Scores:
    count = side.sum(0)
    mean = np.where(side, scores, 0).sum(0) / np.maximum(count, 1)
    return np.asarray(np.where(count > 0, mean, scores[side].mean()), np.float64)


def balanced(members: Data, others: Data, limit: int) -> tuple[Data, Data]:
    """As many of the one as of the other from every class, about `limit` each: else the labels alone would tell."""
    generator = np.random.default_rng(2)
    chosen: tuple[list[int], list[int]] = ([], [])
    scale = min(1.0, limit / max(len(members), 1))
    for label in range(members.num_classes):
        sides = [generator.permutation(np.flatnonzero((data.y == label).numpy())) for data in (members, others)]
        count = int(np.ceil(min(map(len, sides)) * scale))
        for rows, side in zip(chosen, sides, strict=True):
            rows.extend(side[:count].tolist())
    one, other = (data.subset(torch.tensor(sorted(r))) for data, r in zip((members, others), chosen, strict=True))
    return one, other
