"""Cells: every round, the mean of a small random group, found by a secure sum. Knows a mean; no member, mask or round.

    x_i' = m = (1 / c) sum over the cell of x_j
    z_i' = z_i - dual_gain / work_i * (m - x_i)          (the learner takes lr * z off after each step)

The rule needs nothing but the mean, so it runs where nobody may see another's row (docs/secure_cells.md). The drift
correction is kept: every member knows its own x and m. It sums to zero over a cell whose members did the same work
(learning rate summed over the local steps), as in lockstep with train.steps; otherwise the sum of z drifts.

Sources: disjoint groups as in Ryabinin et al. 2021 (Moshpit SGD); with dual_gain = 1 and everybody in one cell the
correction is ProxSkip's control variate (Mishchenko et al. 2022, algorithm 2, h = -z). Differs from both in: cells are
drawn anew every round, from a value that all have drawn together; the dual step may be shorter.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from p2pfl.errors import ConfigError
from p2pfl.mixing.rows import Crowd, Heard, Phase, RowMixer, State, Weighting, over_work, pull, pull_all

CELL_SIZES = (3, 16)
WINDOW_MAX = 1000


@dataclass(frozen=True)
class Cell(RowMixer):
    """size: the most members of a cell. scope: cells lie in closed neighbourhoods, or anywhere among the members.
    reach: values beyond it, of either sign, count as the end of the range. dual_gain: step of the drift correction.
    whole: a cell sums all its members or nobody. window: rounds whose cells follow from one value drawn by all. bits:
    of a value on its way; with 16 there are half the bytes, and a grid 2^16 times as coarse."""

    looks_back: ClassVar[bool] = False
    weighting: ClassVar[Weighting] = "cell"

    size: int = 8
    scope: Literal["neighbourhood", "members"] = "neighbourhood"
    reach: float = 64.0
    dual_gain: float = 0.5
    whole: bool = False
    window: int = 10
    bits: Literal[16, 32] = 32

    def __post_init__(self) -> None:
        low, high = CELL_SIZES
        if type(self.size) is not int or not low <= self.size <= high:
            raise ConfigError(f"mix.size: expected {low} to {high} members of a cell, got {self.size}")
        if self.scope not in ("neighbourhood", "members"):
            raise ConfigError(f"mix.scope: expected neighbourhood or members, got {self.scope!r}")
        if not 2.0**-10 <= self.reach <= 2.0**20:
            raise ConfigError(f"mix.reach: expected 2^-10 to 2^20, got {self.reach}")
        if self.bits not in (16, 32):
            raise ConfigError(f"mix.bits: expected 16 or 32, got {self.bits}")
        if type(self.window) is not int or not 1 <= self.window <= WINDOW_MAX:
            raise ConfigError(f"mix.window: expected 1 to {WINDOW_MAX} rounds, got {self.window}")
        if not 0 <= self.dual_gain <= 1:
            raise ConfigError(f"mix.dual_gain: expected 0 to 1, got {self.dual_gain}")

    def init(self, x: Tensor) -> State:
        return {"z": torch.zeros_like(x)} if self.dual_gain else {}

    def shift(self, state: State) -> Tensor | None:
        return state.get("z")

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        """Law: x' is the same at all members of a cell, and keeps the mean over nodes."""
        return self.moved(state, x, pull(heard), phase)

    def mix_all(self, states: State, x: Tensor, crowd: Crowd, phases: Phase) -> tuple[State, Tensor]:
        return self.moved(states, x, pull_all(crowd), phases)

    def moved(self, state: State, x: Tensor, by: Tensor, phase: Phase) -> tuple[State, Tensor]:
        """`by` (P,): m - x, from wherever the mean came."""
        if not self.dual_gain:
            return state, x + by
        return {"z": state["z"] - self.dual_gain * over_work(by, phase)}, x + by
