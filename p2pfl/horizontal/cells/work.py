"""The heavy work of a cell's round as calculations: mask, unmask, move. Knows vectors; no message or round.

Summed beside the model, so that nobody states them alone: samples and score (averages.py), each as a part of its limit.
Progress is not: in lockstep everybody's is the round, and a sum that is rounded would not be a whole number of rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Buffer
from p2pfl.horizontal.model.work import MixedRow
from p2pfl.horizontal.terms.averages import Stated
from p2pfl.mixing.cell import Cell as CellRule
from p2pfl.mixing.rows import Phase, State
from p2pfl.privacy.discrete import discrete_gaussian
from p2pfl.secagg.cell import slices
from p2pfl.secagg.masks import Words
from p2pfl.secagg.member import Cover, Lifting
from p2pfl.secagg.rounding import Grid, Width
from p2pfl.secagg.vectors import covered, from_bytes, lifted, mean, to_bytes
from p2pfl.wire.envelope import chunk_digests

AVERAGES = 2
DIGITS = 3
"""Of each average, base 256, where words are narrow: one word would say it too coarsely."""
SAMPLES_LIMIT = 2.0**26
SCORE_LIMIT = 2.0**10


class Part(NamedTuple):
    """Words on their way."""

    body: Buffer
    chunks: bytes


@dataclass(frozen=True, eq=False, slots=True)
class Summand:
    """What one member puts into the sum: the values of x (P,) at `positions` (None: all), and the averages stated.

    noise: deviation of what is added to each value, in units of the grid; 0: none. The averages have none: with
    differential privacy they are the same for everybody (gossip.py). work (P,): of a weighed round, summed besides."""

    x: Tensor
    positions: Tensor | None
    stated: Stated
    grid: Grid
    noise: float = 0.0
    work: Tensor | None = None

    @property
    def size(self) -> int:
        return self.num_values + (0 if self.work is None else self.work.numel()) + self.num_extras

    @property
    def num_values(self) -> int:
        """Words of the model."""
        return self.x.numel() if self.positions is None else self.positions.numel()

    @property
    def num_extras(self) -> int:
        """Words behind the model's."""
        return AVERAGES if self.grid.width == 32 else AVERAGES * DIGITS

    def said(self) -> Tensor:
        """The model's part, (k,), on the CPU."""
        x = self.x if self.positions is None else self.x[self.positions]
        return x.detach().to("cpu")


def mask(summand: Summand, cover: Cover, key: Key) -> list[Part]:
    """One part for each dealer, in order. Raises ValueError if the model is not finite."""
    work = () if summand.work is None else (summand.work.detach().to("cpu", summand.x.dtype).numpy(),)
    values = np.concatenate([summand.said().numpy(), *work, _extras_out(summand)])
    hidden = np.zeros(len(values), np.int64) if summand.noise else None
    if hidden is not None:
        count = len(values) - summand.num_extras
        hidden[:count] = discrete_gaussian(derive(key, "noise"), count, summand.noise)
    words = covered(summand.grid, values, key, cover, hidden)
    width = summand.grid.width
    parts = (to_bytes(words[part.start : part.stop], width) for part in slices(len(words), len(cover.dealers)))
    return [Part(body, chunk_digests((body,))) for body in parts]


def unmask(parts: Sequence[Buffer], lifting: Lifting, place: range, width: Width = 32) -> Part:
    """The survivors' parts of one slice -> its sum."""
    words = lifted([from_bytes(part, len(place), width) for part in parts], lifting, place.start)
    body = to_bytes(words, width)
    return Part(body, chunk_digests((body,)))


def move(
    rule: CellRule, state: State, phase: Phase, summand: Summand, totals: Sequence[Buffer], count: int
) -> tuple[MixedRow, Stated, Tensor | None]:
    """All slices' sums, in order -> the node's next model, what the survivors stated in the mean, and their work."""
    words: list[Words] = [
        from_bytes(total, len(place), summand.grid.width)
        for total, place in zip(totals, slices(summand.size, len(totals)), strict=True)
    ]
    found = mean(summand.grid, words, count)
    size, rest = summand.num_values, summand.size - summand.num_extras
    work = None if summand.work is None else torch.from_numpy(found[size:rest]).to(summand.x)
    by = torch.from_numpy(found[:size]).to(summand.x) - summand.said().to(summand.x)
    if summand.positions is not None:
        by = torch.zeros_like(summand.x).scatter(0, summand.positions.to(summand.x.device), by)
    return MixedRow(*rule.moved(state, summand.x, by, phase)), _extras_in(found[rest:], summand), work


def _extras_out(summand: Summand) -> NDArray[np.float64]:
    stated, reach = summand.stated, summand.grid.reach
    parts = np.array((stated.samples / SAMPLES_LIMIT, stated.score / SCORE_LIMIT))
    if summand.num_extras == AVERAGES:
        return parts * reach
    digits, rest = [], np.abs(parts)
    for _ in range(DIGITS):
        whole = np.floor(rest * 256)
        digits.append(np.sign(parts) * whole / 256)
        rest = rest * 256 - whole
    return np.concatenate(digits) * reach


def _extras_in(found: NDArray[np.float64], summand: Summand) -> Stated:
    digits = found.reshape(-1, AVERAGES) / summand.grid.reach
    samples, score = (float(value) for value in (digits * 256.0 ** -np.arange(len(digits))[:, None]).sum(0))
    own = summand.stated
    return Stated(own.progress, max(samples * SAMPLES_LIMIT, 1e-9), score * SCORE_LIMIT, own.stop_at)
