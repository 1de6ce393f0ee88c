"""What coalitions of nodes would have learned together, all coalitions at once, and what each node is worth by that.
Knows shares of data and a small net; knows no gossip and no ledger.

Federated averaging of every coalition S from the same start: in each round each member of S takes `steps` steps of SGD
on its own share from the coalition's model, and the mean of what they have is the coalition's next model. A member uses
the same batches in every coalition, so all coalitions that it is in go through one product of matrices.

The net: inputs (D,) -> linear, ReLU -> linear -> classes; its vector is (W1 (H, D), b1 (H,), W2 (C, H), b2 (C,)).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Share = tuple[Tensor, Tensor]
"""Inputs (N, D) and classes (N,)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """D, H and C of the net."""

    inputs: int
    hidden: int
    classes: int = 10

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Models x (B, P) as views (B, H, D), (B, H), (B, C, H), (B, C)."""
        d, h, c = self.inputs, self.hidden, self.classes
        w1, b1, w2, b2 = x.split([d * h, h, h * c, c], 1)
        return w1.unflatten(1, (h, d)), b1, w2.unflatten(1, (c, h)), b2

    def outputs(self, x: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Of models (B, P) on inputs (N, D): what the hidden units have before the ReLU (B, N, H), logits (B, N, C)."""
        w1, b1, w2, b2 = self.split(x)
        before = torch.einsum("nd,bhd->bnh", inputs, w1) + b1[:, None]
        return before, torch.baddbmm(b2[:, None], before.relu(), w2.transpose(1, 2))


def step(shape: Shape, x: Tensor, inputs: Tensor, targets: Tensor, lr: float) -> None:
    """One step of SGD on the mean cross-entropy of a batch, for all models (B, P), in place."""
    before, out = shape.outputs(x, inputs)
    out = out.softmax(-1)
    out[:, torch.arange(len(targets)), targets] -= 1
    out *= lr / len(targets)
    w1, b1, w2, b2 = shape.split(x)
    back = torch.bmm(out, w2) * (before > 0)
    w1 -= torch.einsum("bnh,nd->bhd", back, inputs)
    b1 -= back.sum(1)
    w2 -= torch.bmm(out.transpose(1, 2), before.relu())
    b2 -= out.sum(1)


def batches(count: int, size: int, seed: int) -> Iterator[Tensor]:
    """Passes over `count` examples for ever, each in a fresh order."""
    draw, size = torch.Generator().manual_seed(seed), min(size, count)
    while True:
        order = torch.randperm(count, generator=draw)
        for place in range(count // size):
            yield order[place * size : (place + 1) * size]


def accuracies(
    shape: Shape,
    start: Tensor,
    shares: Sequence[Share],
    test: Share,
    masks: Sequence[int],
    rounds: Sequence[int],
    *,
    steps: int = 10,
    batch: int = 32,
    lr: float = 0.05,
    seed: int = 1,
) -> list[list[float]]:
    """Accuracy on `test` of each coalition (bit masks over `shares`) after each number of `rounds`, ascending."""
    x = start.float().repeat(len(masks), 1)
    chosen = torch.tensor(masks)
    sizes = torch.tensor([max(mask.bit_count(), 1) for mask in masks]).unsqueeze(1)
    walks = [batches(len(y), batch, 1000 * seed + place) for place, (_, y) in enumerate(shares)]
    found = []
    for number in range(max(rounds) + 1):
        if number in rounds:
            found.append(torch.cat([_right(shape, part, test) for part in x.split(256)]).tolist())
        total = torch.where(chosen.unsqueeze(1) == 0, x, 0.0)
        for place, (inputs, targets) in enumerate(shares):
            rows = torch.nonzero(chosen >> place & 1).flatten()
            mine = x[rows]
            for _ in range(steps):
                at = next(walks[place])
                step(shape, mine, inputs[at], targets[at], lr)
            total.index_add_(0, rows, mine)
        x = total / sizes
    return found


def kernel_shapley(players: int, values: Mapping[int, float]) -> list[float]:
    """Shapley values by the regression of which they are the solution (Lundberg and Lee 2017, theorem 2; with pairs of
    complements: Covert and Lee 2021): phi that adds up to v(all) - v(none) and is nearest to v(S) - v(none) in squares,
    weighted by (n - 1) / (C(n, s) s (n - s)). Exact if all coalitions are given.

    Sizes of which not all coalitions are given stand for all of their size.
    """
    n, everybody = players, (1 << players) - 1
    masks = [mask for mask in values if mask not in (0, everybody)]
    counts = Counter(mask.bit_count() for mask in masks)
    sizes = [mask.bit_count() for mask in masks]
    weights = torch.tensor([(n - 1) / (s * (n - s) * counts[s]) for s in sizes], dtype=torch.float64)
    rows = torch.tensor([[float(mask >> player & 1) for player in range(n)] for mask in masks], dtype=torch.float64)
    found = torch.tensor([values[mask] - values[0] for mask in masks], dtype=torch.float64)
    inverse = torch.linalg.inv(rows.T @ (weights[:, None] * rows))
    free = inverse @ (rows.T @ (weights * found))
    ones = torch.ones(n, dtype=torch.float64)
    excess = (free.sum() - (values[everybody] - values[0])) / (ones @ inverse @ ones)
    return (free - excess * (inverse @ ones)).tolist()


def _right(shape: Shape, x: Tensor, test: Share) -> Tensor:
    return (shape.outputs(x, test[0])[1].argmax(-1) == test[1]).double().mean(-1)
