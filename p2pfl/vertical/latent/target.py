"""The target of a transfer: learns from lessons where the source would put each person. Knows its columns; no label, no
private key."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Task
from p2pfl.crypto import paillier_layer as layer
from p2pfl.crypto.paillier_layer import Masks
from p2pfl.crypto.paillier_random import Stream
from p2pfl.errors import ConfigError, Reject
from p2pfl.vertical.latent.lesson import Direction, Floats, features, fitted, probability
from p2pfl.vertical.latent.rules import FEATURES_MAX, Rules
from p2pfl.vertical.split.messages import unpack
from p2pfl.vertical.turns.keys import Keyring, mask_of
from p2pfl.vertical.turns.messages import Accord, Fault, Kind, Replied, Reply, Request, pack_answer, unpack_request

SOURCE = 0


@dataclass(frozen=True, slots=True)
class TargetState:
    """phase: the last request's kind, None before the first. direction: the source's, packed. seed: of the mask on the
    sums that are being opened. w (F, d), once it is fitted."""

    phase: Kind | None = None
    direction: bytes = b""
    seed: Key = field(default=Key(bytes(32)), repr=False)
    w: Floats = field(default_factory=lambda: np.zeros((0, 0)))


class Target:
    """An AnswerWork. x (n, .): columns of the common rows, in the common order, scaled."""

    def __init__(self, accord: Accord, rules: Rules, x: NDArray[np.float32], ring: Keyring | None) -> None:
        self.accord, self.rules, self.ring = accord, rules, ring
        if len(x) != rules.plan.schedule.rows:
            raise ConfigError(f"{accord.parties[1][0]}: expected {rules.plan.schedule.rows} aligned rows, got {len(x)}")
        num = 1 + x.shape[1] + rules.terms.random_features
        if num > FEATURES_MAX:
            raise ConfigError(f"expected at most {FEATURES_MAX} features, random ones among them, got {num}")
        k = features(x, rules.terms.random_features, rules.key)
        train, test = rules.split()
        self.k, self.held_out = k[train], k[test]

    def start(self) -> TargetState:
        return TargetState()

    def pack(self, state: Any) -> bytes:
        s: TargetState = state
        phase = -1 if s.phase is None else int(s.phase)
        packed: bytes = msgpack.packb([phase, s.direction, bytes(s.seed), len(s.w), s.w.astype("<f8").tobytes()])
        return packed

    def unpack(self, state: bytes, kept: Mapping[bytes, bytes]) -> TargetState:
        phase, direction, seed, rows, w = msgpack.unpackb(state)
        if rows not in (0, self.k.shape[1]):
            raise ConfigError(f"expected saved weights of {self.k.shape[1]} features, got {rows}")
        found = np.frombuffer(w, "<f8").astype(np.float64).reshape(rows, self.rules.width if rows else 0)
        return TargetState(None if phase < 0 else Kind(phase), direction, Key(seed), found)

    def run(self, task: Task) -> Any:
        assert isinstance(task, Reply)
        if self.ring is not None:
            self.ring.turn(derive(task.key, "draws"))
        try:
            return self._answer(task.state, unpack_request(task.request), task.key)
        except Reject as error:
            return Fault(SOURCE, error.code, error.detail)

    def direction(self, state: TargetState) -> Direction:
        """Reject if what the source sent is none."""
        try:
            return Direction.of(state.direction, self.rules.width)
        except ValueError as error:
            raise Reject("transfer-direction", str(error)) from None

    # ------------------------------------------------------------------------------------------------- turns

    def _answer(self, state: TargetState, request: Request, key: Key) -> Replied:
        match request.kind, state.phase:
            case Kind.HELLO, None:
                count = self.k.shape[1].to_bytes(4, "little")
                return Replied(replace(state, phase=Kind.HELLO), pack_answer([count]))
            case Kind.HOLD, Kind.HELLO:
                return self._hold(state, request.blobs, key)
            case Kind.STEP, Kind.HOLD if self.rules.sealed:
                return self._unmask(state, request.blobs)
        raise Reject("turn-kind", f"expected another request than kind {request.kind} now")

    def _hold(self, state: TargetState, blobs: tuple[bytes, ...], key: Key) -> Replied:
        direction, public, taught = _parts(blobs, 3)
        state = replace(state, phase=Kind.HOLD, direction=direction)
        self.direction(state)
        rows, width = len(self.k), self.rules.width
        if not self.rules.sealed:
            c = unpack(taught, rows, width, self.rules.guard.longest(width))
            return self._fit(state, self.k.T @ c.astype(np.float64))
        ring, product = self._ring(), self.rules.product
        ring.learn_keys([public, b""])
        hidden = layer.read_matrix(ring.public(SOURCE), product, taught, (rows, width))
        seed = derive(key, "mask")
        masked, _ = layer.multiply(ring.by(SOURCE), product, hidden, self.k, Stream(seed))
        return Replied(replace(state, seed=seed), pack_answer([masked]))

    def _unmask(self, state: TargetState, blobs: tuple[bytes, ...]) -> Replied:
        shape = (self.k.shape[1], self.rules.width)
        masks = Masks(mask_of(self.rules.product, shape[0] * self.rules.mask_sums, state.seed))
        sums = layer.unmask(self.rules.product, _parts(blobs, 1)[0], masks, shape)
        return self._fit(replace(state, phase=Kind.STEP, seed=Key(bytes(32))), sums)

    def _fit(self, state: TargetState, sums: Floats) -> Replied:
        direction, terms = self.direction(state), self.rules.terms
        w = fitted(self.k, sums, direction, terms.alignment, terms.ridge)
        scores = probability(self.held_out @ w @ direction.phi)
        return Replied(replace(state, w=w), pack_answer([scores.astype("<f4").tobytes()]))

    def _ring(self) -> Keyring:
        assert self.ring is not None, "a sealed transfer has keys"
        return self.ring


def _parts(blobs: tuple[bytes, ...], num: int) -> tuple[bytes, ...]:
    if len(blobs) != num:
        raise Reject("turn-malformed", f"expected {num} parts, got {len(blobs)}")
    return blobs
