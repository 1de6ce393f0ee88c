"""The source of a transfer: learns from its own labels, teaches, and opens masked sums. Knows its table and keys; no
message, no column of the target."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from p2pfl.core.noise import Key, derive, gaussian, generator
from p2pfl.core.party import Task
from p2pfl.crypto import paillier_layer as layer
from p2pfl.errors import ConfigError, Reject, TrainingError
from p2pfl.vertical.data.leaks import LabelLeakMeter
from p2pfl.vertical.data.metrics import binary_metrics
from p2pfl.vertical.latent.lesson import Floats, direction_of, lessons, longest_row, probability
from p2pfl.vertical.latent.rules import FEATURES_MAX, REST_MIN, Rules
from p2pfl.vertical.split.messages import pack
from p2pfl.vertical.split.nets import Net, Part, learn_top, mlp, pack_part, unpack_part
from p2pfl.vertical.split.work import start_key
from p2pfl.vertical.turns.keys import Keyring
from p2pfl.vertical.turns.messages import Accord, Blame, Kind, Move, Moved, Request, checked, parts_of

TARGET = 1


class SourceNet(nn.Module):
    """Columns (n, F) to latent places (n, d), within (-1, 1), and from these to one score."""

    def __init__(self, features: int, hidden: int, width: int) -> None:
        super().__init__()
        self.bottom, self.head = mlp(features, hidden, width), nn.Linear(width, 1)

    def forward(self, features: Tensor) -> Tensor:
        scores: Tensor = self.head(torch.tanh(self.bottom(features))).squeeze(1)
        return scores


@dataclass(frozen=True, slots=True, eq=False)
class SourceTable:
    """x (N, F) of the whole table, y (N,) 0 or 1; `common` are the places of the rows that the target has too."""

    x: Tensor
    y: NDArray[np.int64]
    common: NDArray[np.int64]

    def rest(self) -> NDArray[np.int64]:
        """Places of the others."""
        return np.setdiff1d(np.arange(len(self.y)), self.common)


@dataclass(frozen=True, slots=True)
class SourceState:
    """phase: what was asked last. features: of the target. scores: the target's, of the rows held out."""

    part: Part
    phase: Kind = Kind.HELLO
    features: int = 0
    scores: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


class Source:
    """An AskWork. `ring` holds its key at level 1."""

    def __init__(self, accord: Accord, rules: Rules, table: SourceTable, ring: Keyring | None) -> None:
        if len(table.common) != rules.plan.schedule.rows:
            raise ConfigError(f"expected {rules.plan.schedule.rows} common rows, got {len(table.common)}")
        self.accord, self.rules, self.table, self.ring = accord, rules, table, ring
        plan, num = rules.plan, table.x.shape[1]
        key = start_key(plan.schedule.seed, plan.label_holder)
        self.net = Net(lambda: SourceNet(num, plan.hidden, rules.width), key, plan.lr)
        self._bottom = mlp(num, plan.hidden, rules.width)
        self.train, self.test = (table.common[places] for places in rules.split())
        self.own = table.rest() if rules.terms.rest_only else np.setdiff1d(np.arange(len(table.y)), self.test)
        if len(self.own) < REST_MIN:
            raise ConfigError(
                f"expected at least {REST_MIN} rows that the source alone has, to learn from, got {len(self.own)}; "
                "with model.rest_only = false it learns from common rows as well"
            )
        self.leak = LabelLeakMeter()

    def start(self) -> tuple[SourceState, Mapping[int, Request]]:
        return SourceState(self.net.start()), {TARGET: Request(Kind.HELLO)}

    def metrics(self, state: Any) -> dict[str, float | None]:
        """Of the target's scores; `source_`: of the source's own net on the same rows."""
        y = self.table.y[self.test]
        own = binary_metrics(y, probability(self._scores(state.part, self.test)))
        return binary_metrics(y, state.scores) | {f"source_{name}": value for name, value in own.items()}

    def progress(self, state: Any) -> tuple[int, int]:
        turns = [Kind.HELLO, Kind.HOLD, *([Kind.STEP] if self.rules.sealed else [])]
        return (len(turns) if len(state.scores) else turns.index(state.phase)), len(turns)

    def pack(self, state: Any) -> bytes:
        s: SourceState = state
        packed: bytes = msgpack.packb([pack_part(s.part), s.phase, s.features, s.scores.astype("<f4").tobytes()])
        return packed

    def unpack(self, state: bytes, kept: Mapping[bytes, bytes]) -> SourceState:
        part, phase, features, scores = msgpack.unpackb(state)
        found = np.frombuffer(scores, "<f4").astype(np.float32)
        return SourceState(unpack_part(part, self.net.start()), Kind(phase), features, found)

    def run(self, task: Task) -> Any:
        assert isinstance(task, Move)
        if self.ring is not None:
            self.ring.turn(derive(task.key, "draws"))
        state, raw = task.state, task.answers[TARGET]
        try:
            match state.phase:
                case Kind.HELLO:
                    return self._teach(state, raw, task.key)
                case Kind.HOLD if self.rules.sealed:
                    return self._open(state, raw, task.key)
            return self._judge(state, raw)
        except Blame as blame:
            return blame.fault

    # ------------------------------------------------------------------------------------------------- turns

    def _teach(self, state: SourceState, raw: bytes, key: Key) -> Moved:
        features = checked(TARGET, _count, parts_of(TARGET, raw, 1)[0])
        part, loss = self._learn(state.part)
        y, terms = self.table.y, self.rules.terms
        a = self.latent(part, np.arange(len(y)))
        a -= a[self.own].mean(axis=0)
        direction = direction_of(a[self.own], y[self.own], terms.alignment)
        taught = lessons(direction, a[self.train], y[self.train], terms.alignment)
        state = replace(state, part=part, phase=Kind.HOLD, features=features)
        if self.rules.sealed:
            ring = self._ring()
            ring.learn_keys([ring.own_key(), b""])
            sealed = layer.encrypt_matrix(ring.by(0), self.rules.product, taught, "lessons")
            blobs = (direction.to_bytes(), ring.own_key(), sealed)
        else:
            noised = self.rules.guard.add_noise(torch.from_numpy(taught).float(), derive(key, "lessons"))
            self.leak.add(noised.double().numpy(), y[self.train])
            blobs = (direction.to_bytes(), b"", pack(noised.numpy()))
        return Moved(state, {TARGET: Request(Kind.HOLD, 0, blobs)}, loss, epoch=1)

    def _open(self, state: SourceState, raw: bytes, key: Key) -> Moved:
        shape = (state.features, self.rules.width)
        noise = gaussian(derive(key, "sums"), shape[0] * shape[1]).reshape(shape)
        share = noise * (self.rules.noise * longest_row(state.features))
        blob, ring = parts_of(TARGET, raw, 1)[0], self._ring()
        opened = checked(
            TARGET, layer.open_masked, ring.private(), self.rules.product, blob, shape, share, ring.threads
        )
        return Moved(replace(state, phase=Kind.STEP), {TARGET: Request(Kind.STEP, 0, (opened,))})

    def _judge(self, state: SourceState, raw: bytes) -> Moved:
        scores = checked(TARGET, _scores, parts_of(TARGET, raw, 1)[0], len(self.test))
        return Moved(replace(state, scores=scores), {})

    # ------------------------------------------------------------------------------------------------- its own net

    def latent(self, part: Part, rows: NDArray[np.int64]) -> Floats:
        """Places (n, d) of these rows of the table, not centred."""
        bottom = {name.removeprefix("bottom."): w for name, w in self.net.named(part.x).items() if "bottom." in name}
        with torch.no_grad():
            found = torch.tanh(functional_call(self._bottom, bottom, (self.table.x[rows],)))
        places: Floats = found.double().numpy()
        return places

    def _scores(self, part: Part, rows: NDArray[np.int64]) -> Floats:
        with torch.no_grad():
            found: Floats = self.net.run(part.x, self.table.x[rows]).double().numpy()
        return found

    def _learn(self, part: Part) -> tuple[Part, float]:
        """All passes over its own rows; the mean loss of the last one."""
        s, losses = self.rules.plan.schedule, [0.0]
        x, y = self.table.x, torch.from_numpy(self.table.y)
        for epoch in range(s.epochs):
            order = self.own[generator(derive(self.rules.key, "epoch", epoch)).permutation(len(self.own))]
            losses = []
            for at in range(0, len(order), s.batch):
                rows = order[at : at + s.batch]
                done = learn_top(self.net, part, x[rows], [], y[rows])
                part, loss = done.part, done.loss
                losses.append(loss)
        if not bool(torch.isfinite(part.x).all()):
            raise TrainingError("the source's weights are no longer finite; try a smaller learning rate")
        return part, float(np.mean(losses))

    def _ring(self) -> Keyring:
        assert self.ring is not None, "a sealed transfer has a key"
        return self.ring


def _count(raw: bytes) -> int:
    found = int.from_bytes(raw, "little")
    if len(raw) != 4 or not 1 < found <= FEATURES_MAX:
        raise Reject("turn-malformed", f"expected 2 to {FEATURES_MAX} features, got {found}")
    return found


def _scores(raw: bytes, num: int) -> NDArray[np.float32]:
    if len(raw) != 4 * num:
        raise Reject("turn-malformed", f"expected {num} scores, got {len(raw)} bytes")
    found = np.frombuffer(raw, "<f4").astype(np.float32)
    if not ((found >= 0) & (found <= 1)).all():
        raise Reject("turn-malformed", "expected scores from 0 to 1")
    return found
