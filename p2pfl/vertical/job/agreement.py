"""What the parties of a vertical job agree on before they know which rows they share. Knows numbers, names and ids.

Alignment says how many rows there are; only then is there a `Plan`. Messages are bound to the agreement's digest from
the first word on (it is the network's id in every envelope), so a party with another document is refused at the door.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from blake3 import blake3

from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError
from p2pfl.vertical.align.terms import Terms
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.latent.rules import Transfer
from p2pfl.vertical.split.plan import Plan, Schedule
from p2pfl.vertical.turns.messages import Accord
from p2pfl.wire import canonical

Purpose = Literal["train", "predict"]
Kind = Literal["split", "logistic", "linear", "transfer"]


@dataclass(frozen=True, slots=True)
class Encryption:
    """Of level 1 and of regression. third: who holds the keys and has no data, if there is one (name, key). rate: of
    plain gradient descent on what is encrypted; the others as in `sealed.Seal` and `hetero.Rules`."""

    third: tuple[str, NodeId] | None = None
    key_bits: int = 2048
    rate: float = 0.5
    noise: float = 0.05
    decay: float = 0.0
    tolerance: float = 0.0


@dataclass(frozen=True)
class Agreement:
    """`parties` with data (name, key), the label holder first, as `terms.parties` has their names. `least`: fewer
    common rows end the job. purpose: who trains and who predicts refuse each other. level: of split and transfer."""

    name: str
    parties: tuple[tuple[str, NodeId], ...]
    terms: Terms
    widths: tuple[int, ...]
    embeddings: RowGuard
    gradients: RowGuard
    least: int = 10
    purpose: Purpose = "train"
    kind: Kind = "split"
    level: int = 0
    encryption: Encryption = field(default_factory=Encryption)
    transfer: Transfer = field(default_factory=Transfer)
    batch: int = 256
    epochs: int = 6
    test_fraction: float = 0.2
    seed: int = 1
    hidden: int = 32
    top_hidden: int = 16
    lr: float = 3e-3
    delta: float = 1e-5
    timeout_s: float = field(default=30.0, compare=False)
    patience_s: float = field(default=600.0, compare=False)

    def __post_init__(self) -> None:
        if tuple(name for name, _ in self.parties) != self.terms.parties:
            raise ConfigError(f"expected the alignment's parties to be {', '.join(n for n, _ in self.parties)}")

    @cached_property
    def digest(self) -> bytes:
        e = self.encryption
        third = [] if e.third is None else list(e.third)
        fields = [
            "p2pfl/vertical-agreement/1",
            [self.kind, self.level],
            [third, e.key_bits, float(e.rate), float(e.noise), float(e.decay), float(e.tolerance)],
            self.name,
            self.purpose,
            self.terms.digest,
            [[name, key] for name, key in self.parties],
            list(self.widths),
            [self.embeddings.clip, self.embeddings.noise, self.gradients.clip, self.gradients.noise],
            [self.batch, self.epochs, self.test_fraction, self.seed, self.least],
            [self.hidden, self.top_hidden, self.lr, self.delta],
        ]
        if self.kind == "transfer":
            t = self.transfer
            fields.append([float(t.alignment), float(t.ridge), t.random_features, t.rest_only])
        return blake3(canonical.packb(fields)).digest()

    @property
    def label_holder(self) -> NodeId:
        return self.parties[0][1]

    @property
    def feature_holders(self) -> tuple[NodeId, ...]:
        return tuple(key for _, key in self.parties[1:])

    @property
    def everyone(self) -> tuple[tuple[str, NodeId], ...]:
        """Those with data, then who holds keys, if somebody does."""
        return self.parties if self.encryption.third is None else (*self.parties, self.encryption.third)

    @cached_property
    def accord(self) -> Accord:
        """The same for jobs of turns: bound to this agreement."""
        third = self.encryption.third is not None
        return Accord(self.name, self.everyone, self.digest, third, self.timeout_s, self.patience_s)

    def name_of(self, node: bytes) -> str:
        return next((name for name, key in self.everyone if key == node), "an unknown party")

    def index_of(self, node: NodeId) -> int:
        """ConfigError if the key is of no party."""
        for index, (_, key) in enumerate(self.parties):
            if key == node:
                return index
        raise ConfigError(f"job {self.name}: the key file's key {node.hex()} belongs to none of its parties")

    def width_of(self, node: NodeId) -> int:
        return self.widths[self.index_of(node)]

    def plan(self, rows: int) -> Plan:
        """The training over so many common rows. ConfigError if there are too few."""
        return Plan(
            name=self.name,
            parties=self.parties,
            widths=self.widths,
            schedule=self._schedule(rows),
            embeddings=self.embeddings,
            gradients=self.gradients,
            hidden=self.hidden,
            top_hidden=self.top_hidden,
            lr=self.lr,
            delta=self.delta,
            timeout_s=self.timeout_s,
            patience_s=self.patience_s,
        )

    def _schedule(self, rows: int) -> Schedule:
        batch = min(self.batch, rows)
        if self.purpose == "predict":
            return Schedule(rows, batch, 0, 1.0, self.seed)
        return Schedule(rows, batch, self.epochs, self.test_fraction, self.seed)
