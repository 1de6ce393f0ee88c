"""A network of nodes that a neighbourhood rule mixes, with gradients that a test says: no codec, message or learner.

Legend: N nodes, P values in a model. X is (N, P) in float64; W (N, N) holds w_ij at [i, j], its diagonal unused.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from p2pfl.mixing import (
    MIXERS,
    Average,
    Cell,
    Choco,
    Epidemic,
    FedAvg,
    GradientTracking,
    PushSum,
    QuasiGlobal,
    Similarity,
)
from p2pfl.mixing.rows import Crowd, Heard, Phase, RowMixer, State
from p2pfl.topology import load_topology

Gradient = Callable[[int, Tensor], Tensor]
Coder = Callable[[int, Tensor], Tensor]

RULES: dict[str, RowMixer] = {
    "average": Average(),
    "cell": Cell(),
    "choco": Choco(),
    "choco plain": Choco(gamma=0.4, dual_gain=0.0),
    "epidemic": Epidemic(),
    "fedavg": FedAvg(),
    "gradient_tracking": GradientTracking(),
    "similarity": Similarity(),
    "push_sum": PushSum(),
    "qg": QuasiGlobal(),
}
KEEPS_THE_MEAN = ("average", "cell", "choco", "choco plain", "gradient_tracking", "qg")


@dataclass
class Network:
    """All nodes of one rule. `mixed` counts rounds."""

    rule: RowMixer
    x: Tensor
    states: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.states = self.states or [self.rule.init(row) for row in self.x]

    def train(self, gradient: Gradient, lr: float, steps: int = 1) -> list[Phase]:
        """Local steps as a learner does them; returns what each phase gave."""
        phases, after = [], []
        for node, before in enumerate(self.x):
            shift, x = self.rule.shift(self.states[node]), before
            for _ in range(steps):
                direction = gradient(node, x) + (shift if shift is not None else 0.0)
                x = x - lr * direction
            after.append(x)
            phases.append(Phase(before, torch.tensor(lr * steps, dtype=torch.float64)))
        self.x = torch.stack(after)
        return phases

    def idle(self) -> list[Phase]:
        return [Phase(row, torch.zeros((), dtype=torch.float64)) for row in self.x]

    def say(self, phases: list[Phase], coder: Coder = lambda node, v: v) -> Tensor:
        """(N, V P)."""
        said = [self.rule.outgoing(s, x, p) for s, x, p in zip(self.states, self.x, phases, strict=True)]
        return torch.stack([coder(node, v) for node, v in enumerate(said)])

    def hear(self, rows: Tensor, w: Tensor, given: Tensor) -> list[Heard]:
        """What each node hears: the rows with a weight."""
        notes = self.notes()
        heard = []
        for node in range(len(self.x)):
            others = [j for j in range(len(self.x)) if j != node and w[node, j]]
            heard.append(Heard(rows[node], rows[others], w[node, others], given[node], notes[others]))
        return heard

    def mix(self, phases: list[Phase], rows: Tensor, w: Tensor, given: Tensor | None = None) -> None:
        given = off_diagonal(w).sum(0) if given is None else given
        heard = self.hear(rows, w, given)
        after = [self.rule.mix(s, x, h, p) for s, x, h, p in zip(self.states, self.x, heard, phases, strict=True)]
        self.states, self.x = [s for s, _ in after], torch.stack([x for _, x in after])

    def round(self, gradient: Gradient, lr: float, w: Tensor, steps: int = 1) -> None:
        phases = self.train(gradient, lr, steps)
        self.mix(phases, self.say(phases), w)

    def notes(self) -> Tensor:
        rows = [[float(state[note.name]) for note in self.rule.notes] for state in self.states]
        return torch.tensor(rows, dtype=torch.float64).reshape(len(self.x), len(self.rule.notes))

    def crowd(self, rows: Tensor, w: Tensor) -> Crowd:
        everybody = torch.arange(len(w)).repeat(len(w), 1)
        return Crowd(rows, rows, everybody, off_diagonal(w), off_diagonal(w).sum(0), self.notes())


def off_diagonal(w: Tensor) -> Tensor:
    return w - torch.diag(torch.diagonal(w))


def metropolis(family: str, n: int) -> Tensor:
    """W (N, N), rows sum to 1."""
    return torch.from_numpy(load_topology(family, n).matrix().toarray())


def contraction(w: Tensor) -> float:
    """The largest factor that a product with W leaves of disagreement."""
    n = len(w)
    return float(torch.linalg.matrix_norm(w - torch.full((n, n), 1.0 / n, dtype=w.dtype), 2))


def spread(x: Tensor) -> float:
    return float(torch.linalg.matrix_norm(x - x.mean(0)))


def random(n: int, size: int, seed: int) -> Tensor:
    return torch.randn(n, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    assert {type(rule) for rule in RULES.values()} == set(MIXERS.values()) - {MIXERS["pairwise"]}
    return SimpleNamespace(
        RULES=RULES,
        KEEPS_THE_MEAN=KEEPS_THE_MEAN,
        Network=Network,
        metropolis=metropolis,
        contraction=contraction,
        spread=spread,
        random=random,
        off_diagonal=off_diagonal,
    )
