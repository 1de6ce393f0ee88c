"""The label holder at level 1: multiplies sealed embeddings by its part of the weights, learns the rest. Knows tensors
and a cipher; no message.

What it sees of each feature holder: z = x W of every batch, the noised gradient of W, and ciphertexts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from p2pfl.core.noise import Key, derive, generator, root
from p2pfl.core.party import Task
from p2pfl.crypto.paillier_layer import Product
from p2pfl.errors import ConfigError, Reject, TrainingError
from p2pfl.vertical.data.leaks import LabelLeakMeter
from p2pfl.vertical.data.metrics import binary_metrics
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.sealed.cipher import Cipher, Floats, Shape
from p2pfl.vertical.sealed.seal import DZ, WEIGHTS, Seal, gathered, spread
from p2pfl.vertical.split.nets import Net, Part, learn_top, mlp, pack_part, unpack_part
from p2pfl.vertical.split.plan import Batches
from p2pfl.vertical.turns.messages import Accord, Blame, Kind, Move, Moved, Request, checked, parts_of

_WHOLE = RowGuard(DZ.bound)


class Rest(nn.Module):
    """What is left of the top where its first layer is sealed: own part added, then one layer to a score."""

    def __init__(self, features: int, hidden: int, width: int, outputs: int) -> None:
        super().__init__()
        own: list[nn.Module] = [mlp(features, hidden, width), nn.Linear(width, outputs)] if features else []
        self.own = nn.Sequential(*own)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.last = nn.Linear(outputs, 1)

    def forward(self, features: Tensor, z: Tensor) -> Tensor:
        """features (n, F), z (n, O) -> (n,)."""
        inside = z + self.bias + (self.own(features) if len(self.own) else 0.0)
        scores: Tensor = self.last(torch.relu(inside)).squeeze(1)
        return scores


@dataclass(frozen=True, slots=True, eq=False)
class LabelState:
    """v: V_p (d_p, O) by feature holder. phase: what was asked last, about `step`. sealed: this step's answers, until
    its gradients are made. seed: of the masks that are with who opens. waiting: a gradient of V is being opened."""

    part: Part
    v: tuple[Floats, ...] = ()
    keys: tuple[bytes, ...] = ()
    phase: Kind = Kind.HELLO
    step: int = 0
    sealed: tuple[tuple[bytes, ...], ...] = field(default=(), repr=False)
    seed: Key = field(default=Key(bytes(32)), repr=False)
    waiting: bool = False
    loss: float = 0.0
    scores: Floats = field(default_factory=lambda: np.zeros(0))


class LabelHolder:
    """An AskWork. features (n, F), F may be 0; labels (n,) 0 or 1. `leaks`: what dz' gave away, by party's number."""

    def __init__(self, accord: Accord, seal: Seal, features: Tensor, labels: NDArray[np.int64], cipher: Cipher) -> None:
        plan, name = seal.plan, accord.parties[0][0]
        if features.ndim != 2 or not len(features) == len(labels) == plan.schedule.rows:
            raise ConfigError(f"{name}: expected {plan.schedule.rows} aligned rows, got {len(features)}")
        if not set(np.unique(labels)) <= {0, 1} or not bool(torch.isfinite(features).all()):
            raise ConfigError(f"{name}: expected a label 0 or 1 for each row, and finite features")
        self.accord, self.seal, self.cipher, self.features = accord, seal, cipher, features
        self.labels, self.batches = torch.from_numpy(labels), Batches(plan.schedule)
        num, widths, outputs = features.shape[1], plan.widths, plan.top_hidden
        self.net = Net(
            lambda: Rest(num, plan.hidden, widths[0], outputs),
            derive(root(plan.schedule.seed), "vertical-start", plan.label_holder),
            plan.lr,
        )
        self.parties = list(accord.feature_holders)
        self.widths = {party: plan.width_of(accord.node(party)) for party in self.parties}
        self.leak = LabelLeakMeter()
        self._known: tuple[bytes, ...] = ()

    def start(self) -> tuple[LabelState, Mapping[int, Request]]:
        asked = range(1, len(self.accord.parties))
        return LabelState(self.net.start()), {party: Request(Kind.HELLO) for party in asked}

    def metrics(self, state: Any) -> dict[str, float | None]:
        s: LabelState = state
        return binary_metrics(self.labels.numpy()[self.batches.test], s.scores)

    def progress(self, state: Any) -> tuple[int, int]:
        s: LabelState = state
        return s.step, self.seal.plan.schedule.num_steps

    def pack(self, state: Any) -> bytes:
        s: LabelState = state
        numbers = [v.astype("<f8").tobytes() for v in (*s.v, s.scores)]
        small = [s.phase, s.step, s.seed, s.waiting, s.loss]
        sealed = [list(blobs) for blobs in s.sealed]
        packed: bytes = msgpack.packb([pack_part(s.part), numbers, small, list(s.keys), sealed])
        return packed

    def unpack(self, state: bytes, kept: Mapping[bytes, bytes]) -> LabelState:
        part, numbers, (phase, step, seed, waiting, loss), keys, sealed = msgpack.unpackb(state)
        found = [np.frombuffer(raw, "<f8").astype(np.float64) for raw in numbers]
        outputs = self.seal.plan.top_hidden
        v = tuple(flat.reshape(-1, outputs) for flat in found[:-1])
        blobs = tuple(tuple(one) for one in sealed)
        whole = unpack_part(part, self.net.start())
        return LabelState(whole, v, tuple(keys), Kind(phase), step, blobs, Key(seed), waiting, loss, found[-1])

    def run(self, task: Task) -> Any:
        assert isinstance(task, Move)
        self.cipher.turn(derive(task.key, "draws"))
        try:
            return self._move(task.state, task.answers, task.key)
        except Blame as blame:
            return blame.fault

    def _move(self, state: LabelState, answers: Mapping[int, bytes], key: Key) -> Moved:
        if state.keys != self._known:
            self.cipher.learn_keys(state.keys)
            self._known = state.keys
        match state.phase:
            case Kind.HELLO:
                return self._hello(state, answers, key)
            case Kind.KEYS:
                for party, raw in answers.items():
                    parts_of(party, raw, 0)
                return self._ask(replace(state, sealed=()), dict.fromkeys(self.parties, ()))
            case Kind.STEP | Kind.TEST:
                return self._forward(state, answers, key)
        return self._backward(state, answers, key) if not state.waiting else self._weighed(state, answers)

    # ----------------------------------------------------------------------------------------------- before training

    def _hello(self, state: LabelState, answers: Mapping[int, bytes], key: Key) -> Moved:
        """Everybody gets all keys; V is drawn: it is nobody else's."""
        found = {party: parts_of(party, raw, 1)[0][4:] for party, raw in answers.items()}
        for party, raw in found.items():
            if (self._key(party) == party) != bool(raw):
                raise Blame(party, Reject("paillier-key", "expected a key of who holds one, and of nobody else"))
            checked(party, self.cipher.check_key, raw)
        keys = (b"", *(raw for _, raw in sorted(found.items())))
        plan = self.seal.plan
        bound = (sum(plan.widths[1:]) + plan.widths[0]) ** -0.5  # as torch starts a layer of so many inputs
        draws = generator(derive(key, "weights"))
        v = tuple(draws.uniform(-bound, bound, (self.widths[party], plan.top_hidden)) for party in self.parties)
        requests = {party: Request(Kind.KEYS, 0, keys) for party in self.parties}
        return Moved(replace(state, keys=keys, v=v, phase=Kind.KEYS), requests)

    # ------------------------------------------------------------------------------------------------------- forward

    def _ask(
        self,
        state: LabelState,
        blobs: Mapping[int, tuple[bytes, ...]],
        loss: float | None = None,
        epoch: int | None = None,
    ) -> Moved:
        """The next step's embeddings, against the gradients of the step before."""
        kind = Kind.STEP if self.batches.is_learning(state.step) else Kind.TEST
        requests = {party: Request(kind, state.step, blobs[party]) for party in self.parties}
        return Moved(replace(state, phase=kind), requests, loss, epoch)

    def _forward(self, state: LabelState, answers: Mapping[int, bytes], key: Key) -> Moved:
        """[x V + x E + r] of each feature holder, to who opens it. What came with it moves V first."""
        learning = state.phase is Kind.STEP
        num = (5 + self.accord.third) if learning else 2
        parts = {party: parts_of(party, raw, num + state.waiting) for party, raw in sorted(answers.items())}
        if state.waiting:
            state = self._weigh(state, {party: found[num] for party, found in parts.items()})
        rows, plan = len(self.batches.rows(state.step)), self.seal.plan
        blobs = {}
        for party, v in zip(self.parties, state.v, strict=True):
            product, shape = self.seal.forward(self.widths[party]), (plan.top_hidden, rows)
            made = self._product(party, product, parts[party][0], (self.widths[party], rows), WEIGHTS.clip(v))
            mask = self.cipher.seal_mask(self._key(party), product, shape, self._seed(key, party))
            blobs[party] = self._added(party, product, [made, parts[party][1], mask], shape)
        sealed = tuple(parts[party][2:num] for party in self.parties)
        state = replace(state, phase=Kind.OPEN, sealed=sealed, seed=key)
        return Moved(state, self._to_open(state.step, blobs))

    def _to_open(self, step: int, blobs: Mapping[int, bytes], more: Sequence[bytes] = ()) -> dict[int, Request]:
        """To each its own; with a third party all to that."""
        if self.accord.holder is None:
            return {party: Request(Kind.OPEN, step, (blob,)) for party, blob in blobs.items()}
        return {self.accord.holder: Request(Kind.OPEN, step, (*blobs.values(), *more))}

    def _opened(self, answers: Mapping[int, bytes], num: int) -> list[tuple[int, bytes]]:
        """What was opened, with who opened it: `num` by a third party, else one by each feature holder."""
        if self.accord.holder is None:
            return [(party, parts_of(party, answers[party], 1)[0]) for party in self.parties]
        return [(self.accord.holder, blob) for blob in parts_of(self.accord.holder, answers[self.accord.holder], num)]

    # ------------------------------------------------------------------------------------------------------ backward

    def _backward(self, state: LabelState, answers: Mapping[int, bytes], key: Key) -> Moved:
        """z is here: score, and while learning make the gradients."""
        rows, plan = self.batches.rows(state.step), self.seal.plan
        z = np.zeros((len(rows), plan.top_hidden))
        for party, (opener, blob) in zip(self.parties, self._opened(answers, len(self.parties)), strict=True):
            product, seed = self.seal.forward(self.widths[party]), self._seed(state.seed, party)
            z += checked(opener, self.cipher.unmask, product, blob, (plan.top_hidden, len(rows)), seed).T
        whole = torch.from_numpy(z.astype(np.float32))
        if self.batches.is_learning(state.step):
            return self._learn(state, rows, whole, key)
        with torch.no_grad():
            found = torch.sigmoid(self.net.run(state.part.x, self.features[rows], whole)).double().numpy()
        state = replace(state, scores=np.append(state.scores, found), step=state.step + 1, sealed=())
        if state.step == plan.schedule.num_steps:
            return Moved(state, {})
        return self._ask(state, dict.fromkeys(self.parties, ()))

    def _learn(self, state: LabelState, rows: NDArray[np.int64], z: Tensor, key: Key) -> Moved:
        y = self.labels[rows]
        done = learn_top(self.net, state.part, self.features[rows], [z], y)
        part, (dz,), loss = done.part, done.gradients, done.loss
        if not bool(torch.isfinite(part.x).all()):
            raise TrainingError(f"step {state.step}: the weights are no longer finite; try a smaller learning rate")
        guarded = self.seal.plan.gradients.apply_to_gradients(dz, done.residuals, derive(key, "gradient-noise"))
        self.leak.add(guarded.double().numpy(), y.numpy())
        inward, outward = self._gradients(
            state, _WHOLE.clip_rows(dz).double().numpy(), guarded.double().numpy(), len(rows), key
        )
        state = replace(state, part=part, seed=key, waiting=True, loss=loss)
        if self.accord.third:
            requests = self._to_open(state.step, inward, list(outward.values()))
            return Moved(replace(state, phase=Kind.OPEN), requests)
        state, epoch = self._stepped(state)
        return self._ask(state, {p: (outward[p], inward[p]) for p in self.parties}, loss, epoch)

    def _gradients(
        self, state: LabelState, dz: Floats, guarded: Floats, rows: int, key: Key
    ) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """By feature holder: [x^T dz + nu + r'], and [dz' (V + E)^T], with its owner's mask if a third party opens."""
        inward, outward, outputs = {}, {}, self.seal.plan.top_hidden
        weights, inputs = self.seal.weights, self.seal.inputs
        for party, v, sealed in zip(self.parties, state.v, state.sealed, strict=True):
            x, share, noise, *mask = sealed
            width = self.widths[party]
            made = self._product(party, weights, x, (rows, width), dz)
            hidden = self.cipher.seal_mask(self._key(party), weights, (outputs, width), self._seed(key, party))
            inward[party] = self._added(party, weights, [made, noise, hidden], (outputs, width))
            groups = self.seal.groups(width, self.cipher.numbers(inputs))
            v_t, known = spread(WEIGHTS.clip(v).T, groups), gathered(inputs.known.clip(guarded), groups)
            made = self._product(party, inputs, share, v_t.shape, known, v_t)
            shape = known.shape[1], groups * width
            outward[party] = self._added(party, inputs, [made, *mask], shape) if mask else made
        return inward, outward

    def _weighed(self, state: LabelState, answers: Mapping[int, bytes]) -> Moved:
        """The third party has opened the gradients of V, and, masked, those of the embeddings."""
        num = len(self.parties)
        found = [blob for _, blob in self._opened(answers, 2 * num)]
        state = self._weigh(state, dict(zip(self.parties, found[:num], strict=True)))
        state, epoch = self._stepped(state)
        return self._ask(state, {p: (found[num + i],) for i, p in enumerate(self.parties)}, state.loss, epoch)

    def _weigh(self, state: LabelState, opened: Mapping[int, bytes]) -> LabelState:
        """V moves by the noised gradient of the step before."""
        before = state.step if self.accord.third else state.step - 1
        rows, outputs = len(self.batches.rows(before)), self.seal.plan.top_hidden
        moved = []
        for party, v in zip(self.parties, state.v, strict=True):
            blame = party if self.accord.holder is None else self.accord.holder
            shape, seed = (outputs, self.widths[party]), self._seed(state.seed, party)
            gradient = checked(blame, self.cipher.unmask, self.seal.weights, opened[party], shape, seed).T
            moved.append(v - self.seal.rate / rows * gradient)
        return replace(state, v=tuple(moved), waiting=False)

    def _stepped(self, state: LabelState) -> tuple[LabelState, int | None]:
        s, step = self.seal.plan.schedule, state.step + 1
        return replace(state, step=step, sealed=()), step // s.per_epoch if step % s.per_epoch == 0 else None

    # --------------------------------------------------------------------------------------------------------- small

    def _key(self, party: int) -> int:
        return party if self.accord.holder is None else self.accord.holder

    def _seed(self, key: Key, party: int) -> Key:
        return derive(key, "mask", party)

    def _product(
        self, party: int, product: Product, sealed: bytes, shape: Shape, known: Floats, plus: Floats | None = None
    ) -> bytes:
        return checked(party, self.cipher.multiply, self._key(party), product, sealed, shape, known, plus)

    def _added(self, party: int, product: Product, blobs: list[bytes], shape: Shape) -> bytes:
        return checked(party, self.cipher.add, self._key(party), product, blobs, shape)
