"""What the parties of a split training agree on, and how long they wait. Knows numbers and ids; no tensor, no message.

Theory of operation: the label holder asks, feature holders answer; nothing else moves.

    label holder L                                       feature holder P
    step t: gradients of t-1 (none at t = 0)      ->     learn from them, embed batch t
            embeddings of batch t                 <-     Persist(part, answer), Answer
    Persist(part, gradients of t), step t + 1     ->     ...
    after the last training batch: the batches of the rows held out, without gradients, scored by L
    bye                                           ->     stop

Steps are numbered, and both ends write a step down before the other hears of it. So each may be killed at any moment:
L asks for the same step again, P answers what it answered before, byte for byte, and no noise is ever drawn twice for
one step. What fits nowhere (a step that P has forgotten) and malformed values end the job for all, with who was wrong.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive, generator
from p2pfl.errors import ConfigError
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.split.messages import ROWS_MAX, STEPS_MAX, WIDTH_MAX
from p2pfl.wire import canonical

PARTIES_MAX = 5
SPACE = "vertical"
"""Where a party keeps what it must not forget."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which rows of the common order each step is about. `epochs` passes over the rows that are trained on; none, with
    all rows held out, only scores."""

    rows: int
    batch: int
    epochs: int
    test_fraction: float
    seed: int

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= ROWS_MAX:
            raise ConfigError(f"batch: expected 1 to {ROWS_MAX} rows, got {self.batch}")
        if not 0 < self.test_fraction < 1 and not self.only_scores:
            raise ConfigError(f"test_fraction: expected a number between 0 and 1, got {self.test_fraction}")
        if not self.only_scores and (self.epochs < 1 or self.num_train < 1 or self.num_test < 1):
            raise ConfigError(
                f"expected at least one epoch, one row to train on and one to test, got {self.epochs} epochs, "
                f"{self.rows} rows"
            )
        if self.num_steps > STEPS_MAX:
            raise ConfigError(f"expected at most {STEPS_MAX} steps, got {self.num_steps}; use larger batches")

    @property
    def only_scores(self) -> bool:
        return self.epochs == 0 and self.test_fraction == 1 and self.rows > 0

    @property
    def num_test(self) -> int:
        return round(self.rows * self.test_fraction)

    @property
    def num_train(self) -> int:
        return self.rows - self.num_test

    @property
    def per_epoch(self) -> int:
        return -(-self.num_train // self.batch)

    @property
    def num_learning(self) -> int:
        """Steps that train; those after them score the rows held out."""
        return self.epochs * self.per_epoch

    @property
    def num_steps(self) -> int:
        return self.num_learning + -(-self.num_test // self.batch)

    def split(self) -> tuple[Rows, Rows]:
        """Rows to train on and rows held out, alike at every party."""
        order = generator(derive(self._key, "split")).permutation(self.rows)
        return np.sort(order[self.num_test :]), np.sort(order[: self.num_test])

    @property
    def _key(self) -> Key:
        return Key(blake3(b"p2pfl/vertical-order\0" + str(self.seed).encode()).digest())


class Batches:
    """The rows of each step. Keeps one epoch's order."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.train, self.test = schedule.split()
        self._epoch, self._order = -1, self.train

    def rows(self, step: int) -> Rows:
        s = self.schedule
        if step >= s.num_learning:
            start = (step - s.num_learning) * s.batch
            return self.test[start : start + s.batch]
        epoch, index = divmod(step, s.per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = generator(derive(s._key, "epoch", epoch)).permutation(self.train)
        return self._order[index * s.batch : (index + 1) * s.batch]

    def is_learning(self, step: int) -> bool:
        return step < self.schedule.num_learning


@dataclass(frozen=True)
class Plan:
    """One job, the same at every party. `parties`: (name, key), the label holder first. `widths`: of the embeddings,
    by party; the label holder's own is first and goes nowhere.

    embeddings, gradients: what is done to the rows that leave. delta: of the epsilons reported. timeout_s: one
    attempt; patience_s: how long a party waits for one that is gone.
    """

    name: str
    parties: tuple[tuple[str, NodeId], ...]
    widths: tuple[int, ...]
    schedule: Schedule
    embeddings: RowGuard
    gradients: RowGuard
    hidden: int = 32
    top_hidden: int = 16
    lr: float = 3e-3
    delta: float = 1e-5
    timeout_s: float = 30.0
    patience_s: float = 600.0

    def __post_init__(self) -> None:
        if not 2 <= len(self.parties) <= PARTIES_MAX:
            raise ConfigError(f"parties: expected 2 to {PARTIES_MAX}, got {len(self.parties)}")
        if len({key for _, key in self.parties}) != len(self.parties):
            raise ConfigError("parties: expected each key once")
        if len(self.widths) != len(self.parties) or not all(0 < w <= WIDTH_MAX for w in self.widths):
            raise ConfigError(f"widths: expected one of 1 to {WIDTH_MAX} for each party, got {self.widths}")
        if not 0 < self.timeout_s <= self.patience_s:
            raise ConfigError(f"expected 0 < timeout_s <= patience_s, got {self.timeout_s} and {self.patience_s}")

    @property
    def label_holder(self) -> NodeId:
        return self.parties[0][1]

    @property
    def feature_holders(self) -> tuple[NodeId, ...]:
        return tuple(key for _, key in self.parties[1:])

    def name_of(self, node: bytes) -> str:
        return next((name for name, key in self.parties if key == node), "an unknown party")

    def width_of(self, node: NodeId) -> int:
        return next(w for (_, key), w in zip(self.parties, self.widths, strict=True) if key == node)

    @cached_property
    def digest(self) -> bytes:
        """What every message is bound to: a party with another plan is refused."""
        s = self.schedule
        fields = [
            "p2pfl/vertical/1",
            self.name,
            [[name, key] for name, key in self.parties],
            list(self.widths),
            [s.rows, s.batch, s.epochs, s.test_fraction, s.seed],
            [self.embeddings.clip, self.embeddings.noise, self.gradients.clip, self.gradients.noise],
            [self.hidden, self.top_hidden, self.lr, self.delta],
        ]
        return blake3(canonical.packb(fields)).digest()
