"""Distillation between nodes of different models: what they say is their answers on a public set. Knows no message.

Legend: M public examples, C classes, P values in a node's own model, K neighbours heard.

    say     a_i = log softmax f_i(public)                        (M, C), the same shape for every model
    hear    p_j = softmax a_j;  t = average of p_i and all p_j   robust if asked for, rows sum to 1
    learn   `steps` times: x <- x - lr grad KL(t || softmax f_x(public))

Nodes of one model (`weights`) say it behind their answers, to each other alone, and first average these:

    x <- x + average of own and all x_j of this kind - own       by the same kind of average, value by value

So a message holds M C values, whatever the sizes of models are, and P more between two of a kind. Hostile answers are
probabilities after the softmax, whatever was sent; the trimmed mean and the median bound what a minority does to each
of them, and to each value of a model. A step's gradient is shortened to `STEP_MAX`.

Sources: Li, Wang 2019, FedMD, algorithm 1; Lin, Kong, Stich, Jaggi 2020, FedDF, equation 3; over a graph Bistritz,
Mann, Bambos 2020, D-Distillation. Differs from these in: neighbours only, one's own answers take part, plain descent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Literal

import torch
from blake3 import blake3
from torch import Tensor

from p2pfl.core.noise import Key, derive, generator
from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.errors import ConfigError
from p2pfl.learn.flat import FlatModel
from p2pfl.mixing.rows import Heard, Phase, RowMixer, State

FLOOR = -16.0
"""Of a logarithm that is said: less than 1e-6 is as good as never."""
STEP_MAX = 5.0
"""Of a gradient's length."""
PUBLIC_BYTES = 32


@dataclass(frozen=True)
class Distill:
    """The rule's parameters. average: of the answers; trim: share of the rows left out at either end ("trimmed").
    weights: whether nodes of one model average it beside.
    """

    needs: ClassVar[Literal["rows"]] = "rows"
    every_row: ClassVar[bool] = False
    weighting: ClassVar[Literal["uniform"]] = "uniform"
    vectors: ClassVar[int] = 1

    average: Literal["mean", "trimmed", "median"] = "mean"
    trim: float = 0.2
    steps: int = 10
    lr: float = 0.5
    weights: bool = False

    def __post_init__(self) -> None:
        if self.average not in ("mean", "trimmed", "median"):
            raise ValueError(f"mix.average: expected mean, trimmed or median, got {self.average!r}")
        if not 0 <= self.trim < 0.5:
            raise ValueError(f"mix.trim: expected 0 or more and below 0.5, got {self.trim}")
        if not 1 <= self.steps <= 10_000:
            raise ValueError(f"mix.steps: expected 1 to 10000, got {self.steps}")
        if not isinstance(self.weights, bool):
            raise ValueError(f"mix.weights: expected true or false, got {self.weights!r}")
        if not (isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"mix.lr: expected a number above 0, got {self.lr}")

    def mix(self) -> None:
        """Only a `Pupil` mixes: it has a model."""
        raise NotImplementedError

    init = mix

    def targets(self, rows: Tensor) -> Tensor:
        """rows (K + 1, M, C) of logarithms -> (M, C), each row a distribution."""
        mean = self.centre(rows.clamp(-50, 50).softmax(-1)).clamp(min=1e-12)
        return mean / mean.sum(-1, keepdim=True)

    def centre(self, rows: Tensor) -> Tensor:
        """rows (K, ..) -> (..), value by value."""
        cut = int(self.trim * len(rows))
        if self.average == "median":
            return rows.median(0).values
        if self.average == "trimmed" and cut:
            rows = rows.sort(0).values[cut : len(rows) - cut]
        return rows.mean(0)


class Pupil(RowMixer):
    """`Distill` at one node: its model, which nobody else uses meanwhile, and the public examples (M, ...).

    says_model: whether the model is said behind the answers. Where an inbox's row ends before that, it is
    filled up with nan.
    """

    weighting = Distill.weighting
    own_models: ClassVar[bool] = True
    """No two nodes' models need have the same values, so none can be given to a newcomer."""

    def __init__(self, rule: Distill, model: FlatModel, public: Tensor, says_model: bool = False) -> None:
        self.rule, self.model, self.says_model = rule, model, says_model
        self.public = public.to(model.device, model.dtype) if public.is_floating_point() else public.to(model.device)

    def outgoing(self, state: State, x: Tensor, phase: Phase) -> Tensor:
        self.model.load(x)
        self.model.set_training(False)
        with torch.no_grad():
            answers: Tensor = self.model.module(self.public).log_softmax(-1).clamp(min=FLOOR)
        said = answers.reshape(-1).to("cpu", torch.float32)
        return torch.cat([said, x.to(said)]) if self.says_model else said

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        here = heard.inbox[heard.weights > 0]
        if not len(here):
            return state, x
        count = len(heard.own) - (x.numel() if self.says_model else 0)
        x = self._averaged(x, heard.own[count:], here[:, count:])
        rows = torch.cat([heard.own.unsqueeze(0), here])[:, :count].reshape(len(here) + 1, len(self.public), -1)
        return state, self._taught(x, self.rule.targets(rows))

    def _averaged(self, x: Tensor, own: Tensor, models: Tensor) -> Tensor:
        """With models (K, P) of neighbours, as far as they are of this kind: nan otherwise."""
        if not self.says_model:
            return x
        alike = models[models.isfinite().all(1)]
        return x + self.rule.centre(torch.cat([own.unsqueeze(0), alike])) - own

    def _taught(self, x: Tensor, targets: Tensor) -> Tensor:
        """x after the steps towards the targets (M, C); x itself if one of them is no number."""
        targets = targets.to(self.model.device)
        self.model.load(x)
        self.model.set_training(True)
        for _ in range(self.rule.steps):
            said = self.model.module(self.public).log_softmax(-1)
            gradient = self.model.backward(-(targets * said).sum(-1).mean())
            length = float(torch.linalg.vector_norm(gradient))
            if not isfinite(length):
                return x
            self.model.weights.sub_(gradient, alpha=self.rule.lr * min(1.0, STEP_MAX / max(length, 1e-12)))
        return self.model.read().to(x.device, x.dtype)


def answers_schema(num_public: int, num_classes: int, model: ParamSchema | None = None) -> ParamSchema:
    """What is said, as a vector: the answers, the same at every node, and behind them the model, if it is said."""
    answers = ParamSpec("answers", (num_public, num_classes), "answers")
    return ParamSchema((answers, *(() if model is None else model.params)))


def drawn_public(x: Tensor, count: int, key: Key) -> Tensor:
    """`count` of the examples (n, ...), the same at every node. Raises ConfigError if there are fewer."""
    if len(x) < count:
        raise ConfigError(f"distill.samples: expected at most the {len(x)} examples of the public set, got {count}")
    order = generator(derive(key, "public")).permutation(len(x))[:count]
    return x[torch.from_numpy(order)].clone()


def made_public(shape: tuple[int, ...], count: int, key: Key) -> Tensor:
    """`count` examples of uniform noise from 0 to 1, for a network without any public data."""
    drawn = generator(derive(key, "public noise")).random((count, *shape), dtype="float32")
    return torch.from_numpy(drawn)


def digest_with(public: bytes, starts: Sequence[bytes]) -> bytes:
    """32 bytes that name a public set and the models that begin, one a kind in turn."""
    return blake3(b"p2pfl/kinds/v1\0" + public + b"".join(starts)).digest()


def digest_of(public: Tensor) -> bytes:
    """32 bytes that name a public set: all nodes must ask about the same examples in the same order."""
    head = f"{public.dtype} {tuple(public.shape)}".encode()
    raw = public.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return blake3(b"p2pfl/public/v1\0" + len(head).to_bytes(4, "big") + head).update(raw).digest(PUBLIC_BYTES)
