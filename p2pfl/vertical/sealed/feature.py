"""A feature holder at level 1: seals embeddings and shares, learns from what only it can open. Knows tensors and a
cipher; no message."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import numpy as np
import torch
from torch import Tensor

from p2pfl.core.noise import Key, derive, gaussian, root
from p2pfl.core.party import Task
from p2pfl.errors import ConfigError, Reject, TrainingError
from p2pfl.vertical.sealed.cipher import Cipher, Floats
from p2pfl.vertical.sealed.seal import Seal, scattered, spread
from p2pfl.vertical.split.nets import Bottom, Net, Part, mlp, pack_part, unpack_part
from p2pfl.vertical.split.plan import Batches
from p2pfl.vertical.turns.messages import (
    Accord,
    Fault,
    Kind,
    Replied,
    Reply,
    Request,
    pack_answer,
    unpack_request,
)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureState:
    """share: E (d, O). step: whose gradient comes next; -1 for none. seed: of that step's noise and mask."""

    part: Part
    share: Floats
    keys: tuple[bytes, ...] = ()
    step: int = -1
    learning: bool = True
    seed: Key = field(default=Key(bytes(32)), repr=False)


class FeatureHolder:
    """An AnswerWork. features (n, F) of the common rows, in the common order. `me`: my number."""

    def __init__(self, accord: Accord, seal: Seal, me: int, features: Tensor, cipher: Cipher) -> None:
        plan = seal.plan
        name, node = accord.parties[me]
        if features.ndim != 2 or len(features) != plan.schedule.rows or not features.shape[1]:
            raise ConfigError(
                f"{name}: expected {plan.schedule.rows} aligned rows and a feature column, got {tuple(features.shape)}"
            )
        if not bool(torch.isfinite(features).all()):
            raise ConfigError(f"{name}: expected finite features")
        self.accord, self.seal, self.me, self.cipher = accord, seal, me, cipher
        self.features, self.batches = features, Batches(plan.schedule)
        self.width, self.outputs = plan.width_of(node), plan.top_hidden
        self.groups = seal.groups(self.width, cipher.numbers(seal.inputs))
        self.key = me if accord.holder is None else accord.holder
        net = Net(
            lambda: mlp(features.shape[1], plan.hidden, self.width),
            derive(root(plan.schedule.seed), "vertical-start", node),
            plan.lr,
        )
        self.bottom = Bottom(net, plan.embeddings.clip_rows)
        self._known: tuple[bytes, ...] = ()

    def start(self) -> FeatureState:
        return FeatureState(self.bottom.net.start(), np.zeros((self.width, self.outputs)))

    def pack(self, state: Any) -> bytes:
        s: FeatureState = state
        share = s.share.astype("<f8").tobytes()
        packed: bytes = msgpack.packb([pack_part(s.part), share, list(s.keys), s.step, s.learning, s.seed])
        return packed

    def unpack(self, state: bytes, kept: Mapping[bytes, bytes]) -> FeatureState:
        part, share, keys, step, learning, seed = msgpack.unpackb(state)
        first = self.start()
        e = np.frombuffer(share, "<f8").astype(np.float64).reshape(first.share.shape)
        return FeatureState(unpack_part(part, first.part), e, tuple(keys), step, learning, Key(seed))

    def run(self, task: Task) -> Any:
        assert isinstance(task, Reply)
        self.cipher.turn(derive(task.key, "draws"))
        try:
            return self._answer(task.state, unpack_request(task.request), task.key)
        except Reject as error:
            return Fault(0, error.code, error.detail)

    def _answer(self, state: FeatureState, request: Request, key: Key) -> Replied:
        if state.keys != self._known:
            self.cipher.learn_keys(state.keys)
            self._known = state.keys
        match request.kind:
            case Kind.HELLO if not state.keys:
                return Replied(state, pack_answer([self.width.to_bytes(4, "little") + self.cipher.own_key()]))
            case Kind.KEYS if not state.keys:
                for raw in request.blobs:
                    self.cipher.check_key(raw)
                if len(request.blobs) != len(self.accord.parties) or not request.blobs[self.key]:
                    raise Reject("turn-malformed", f"expected the keys of {len(self.accord.parties)} parties")
                return Replied(replace(state, keys=request.blobs), pack_answer([]))
            case Kind.OPEN if state.keys:
                return Replied(state, pack_answer([self.cipher.open_masked(blob) for blob in request.blobs]))
            case Kind.STEP | Kind.TEST if state.keys:
                return self._step(state, request, key)
        raise Reject("turn-kind", f"expected another request than kind {request.kind.name} now")

    # --------------------------------------------------------------------------------------------------- a step

    def _step(self, state: FeatureState, request: Request, key: Key) -> Replied:
        step, schedule = request.index, self.seal.plan.schedule
        learning = request.kind is Kind.STEP
        right = self.batches.is_learning(step) is learning and step < schedule.num_steps
        if not right or step != state.step + 1:
            raise Reject("turn-batch", f"expected step {state.step + 1}, got {step}")
        due = state.step >= 0 and state.learning
        closed = request.blobs[1:]
        if len(closed) > 1 or bool(request.blobs) != due or (due and bool(closed) == self.accord.third):
            raise Reject("turn-batch", "expected gradients exactly of a step that learns")
        if due:
            state = self._learn(state, request.blobs[0])
        opened = [self.cipher.open_masked(blob) for blob in closed]
        seed = derive(key, "step")
        sealed = self._seal(state, step, seed, learning)
        state = replace(state, step=step, learning=learning, seed=seed)
        return Replied(state, pack_answer([*sealed, *opened]))

    def _learn(self, state: FeatureState, blob: bytes) -> FeatureState:
        """From dx of the step before, which nobody else has seen, and from the noise that went into W's gradient."""
        rows = self.batches.rows(state.step)
        shape, product = self._shape(len(rows)), self.seal.inputs
        if self.accord.third:
            found = self.cipher.unmask(product, blob, shape, derive(state.seed, "mask"))
        else:
            found = self.cipher.open_own(product, blob, shape)
        dx = scattered(found, self.groups, len(rows))
        part = self.bottom.learn(state.part, self.features[rows], torch.from_numpy(dx.astype(np.float32)))
        if not bool(torch.isfinite(part.x).all()):
            raise TrainingError(f"step {state.step}: the weights are no longer finite; try a smaller learning rate")
        moved = self.seal.rate / len(rows) * self._noise(state.seed)
        return replace(state, part=part, share=state.share + moved)

    def _seal(self, state: FeatureState, step: int, seed: Key, learning: bool) -> list[bytes]:
        """[x], [x E]; while learning also [x] by rows, [E], [nu], and with a third party the mask on dx."""
        rows, seal, key = self.batches.rows(step), self.seal, self.key
        out = self.bottom.embed(state.part, self.features[rows])
        x = seal.plan.embeddings.add_noise(out, derive(seed, "embedding")).double().numpy()
        forward = seal.forward(self.width)
        x = forward.hidden.clip(x)
        sealed = [
            self.cipher.seal(key, forward, x.T, "embeddings"),
            self.cipher.seal_sums(key, forward, (x @ state.share).T),
        ]
        if not learning:
            return sealed
        sealed += [
            self.cipher.seal(key, seal.weights, x, "embeddings"),
            self.cipher.seal(key, seal.inputs, spread(state.share.T, self.groups), "the noise's part of the weights"),
            self.cipher.seal_sums(key, seal.weights, self._noise(seed).T),
        ]
        if self.accord.third:
            sealed.append(self.cipher.seal_mask(key, seal.inputs, self._shape(len(rows)), derive(seed, "mask")))
        return sealed

    def _shape(self, rows: int) -> tuple[int, int]:
        """Of dx as it travels."""
        return -(-rows // self.groups), self.groups * self.width

    def _noise(self, seed: Key) -> Floats:
        """nu (d, O)."""
        drawn = gaussian(derive(seed, "noise"), self.width * self.outputs).reshape(self.width, self.outputs)
        found: Floats = drawn * self.seal.deviation
        return found
