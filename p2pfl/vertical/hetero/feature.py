"""A feature holder of encrypted regression: seals its columns, works on batches, learns. Knows sums; no key.

Also who opens for others, if it is asked to and holds a key: it sees masked sums and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgpack
import numpy as np

from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Task
from p2pfl.errors import ConfigError, Reject
from p2pfl.vertical.hetero.linear import Floats, check_rows, prepared
from p2pfl.vertical.hetero.rules import Batches, Rules, key_of, opener_of, standardised
from p2pfl.vertical.hetero.sums import Held, Sums, pack_floats, unpack_floats
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

HELD = b"held"
COLUMNS_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class FeatureState:
    """`facts`: keys and numbers of columns of all parties, as they came. `seed`: of the mask on the next total.
    `batch`: whose total comes next; -1 for none."""

    w: Floats
    facts: tuple[bytes, ...] = ()
    held: tuple[bytes, ...] = field(default=(), repr=False)
    batch: int = -1
    seed: Key = field(default=Key(bytes(32)), repr=False)
    learning: bool = True


class FeatureHolder:
    """An AnswerWork. x (n, F): columns of the common rows, in the common order. `me`: my number."""

    def __init__(self, accord: Accord, rules: Rules, me: int, x: Floats, sums: Sums) -> None:
        self.accord, self.rules, self.me, self.sums = accord, rules, me, sums
        if len(x) != rules.rows:
            raise ConfigError(f"{accord.parties[me][0]}: expected {rules.rows} aligned rows, got {len(x)}")
        self.batches = Batches(rules)
        self.x = prepared(standardised(x, self.batches.train), rules.spec.clip)
        self.train = self.x[self.batches.train]
        self.others = [q for q in range(accord.num_data) if q != me]
        self._known: tuple[bytes, ...] = ()
        self._held: dict[int, Held] = {}
        self._held_of: tuple[bytes, ...] = ()

    def start(self) -> FeatureState:
        return FeatureState(np.zeros(self.x.shape[1]))

    def pack(self, state: Any) -> bytes:
        s: FeatureState = state
        packed: bytes = msgpack.packb([pack_floats(s.w), list(s.facts), s.batch, s.seed, s.learning])
        return packed

    def unpack(self, state: bytes, kept: Mapping[bytes, bytes]) -> FeatureState:
        w, facts, batch, seed, learning = msgpack.unpackb(state)
        weights = unpack_floats(w)
        if len(weights) != self.x.shape[1]:
            raise ConfigError(f"expected saved weights of {self.x.shape[1]} columns, got {len(weights)}")
        held = tuple(msgpack.unpackb(kept[HELD])) if HELD in kept else ()
        return FeatureState(weights, tuple(facts), held, batch, Key(seed), learning)

    def run(self, task: Task) -> Any:
        assert isinstance(task, Reply)
        self.sums.turn(derive(task.key, "draws"))
        try:
            return self._answer(task.state, unpack_request(task.request), task.key)
        except Reject as error:
            return Fault(0, error.code, error.detail)

    def _answer(self, state: FeatureState, request: Request, key: Key) -> Replied:
        self._remember(state)
        match request.kind:
            case Kind.HELLO if not state.facts:
                count = len(state.w).to_bytes(4, "little")
                return Replied(state, pack_answer([count + self.sums.own_key()]))
            case Kind.KEYS if not state.facts:
                return self._seal(state, request)
            case Kind.HOLD if state.facts and not state.held:
                return self._keep(state, request)
            case Kind.STEP | Kind.TEST if state.held:
                return self._step(state, request, key)
            case Kind.OPEN if state.held:
                return Replied(state, pack_answer([self.sums.open_masked(blob) for blob in request.blobs]))
        raise Reject("turn-kind", f"expected another request than kind {request.kind} now")

    # ------------------------------------------------------------------------------------------------- turns

    def _seal(self, state: FeatureState, request: Request) -> Replied:
        state = replace(state, facts=request.blobs)
        self._remember(state)
        sealed = self.sums.seal_columns(key_of(self.accord, self.me), self.train)
        return Replied(state, pack_answer([sealed]))

    def _keep(self, state: FeatureState, request: Request) -> Replied:
        if len(request.blobs) != len(self.others):
            raise Reject("turn-malformed", f"expected columns of {len(self.others)} parties, got {len(request.blobs)}")
        state = replace(state, held=request.blobs)
        self._remember(state)
        return Replied(state, pack_answer([]), {HELD: msgpack.packb(list(request.blobs))})

    def _step(self, state: FeatureState, request: Request, key: Key) -> Replied:
        total, *closed = request.blobs or (b"",)
        opener = opener_of(self.accord)
        state, term = self._learn(state, total)
        seed = Key(bytes(32))
        if request.kind == Kind.STEP:
            if not state.learning or request.index != state.batch + 1 or request.index >= self.rules.num_steps:
                raise Reject("turn-batch", f"expected batch {state.batch + 1}, got {request.index}")
            seed = derive(key, "mask")
            work = self._cross(state, request.index)
            state = replace(state, batch=request.index, seed=seed)
        else:
            if request.index >= self.rules.num_tests:
                raise Reject("turn-batch", f"expected test batches below {self.rules.num_tests}, got {request.index}")
            rows = self.batches.held_out(request.index)
            work = [self.sums.seal_sums(opener, self.rules.spec.score(self.x[rows], state.w))]
            state = replace(state, learning=False)
        mask = b""
        if self.accord.third and request.kind == Kind.STEP:
            mask = self.sums.seal_mask(key_of(self.accord, self.me), len(state.w), seed)
        opened = [self.sums.open_masked(blob) for blob in closed]
        return Replied(state, pack_answer([term, mask, *work, *opened]))

    def _learn(self, state: FeatureState, total: bytes) -> tuple[FeatureState, bytes]:
        """The next weights, and [s_q . d] of the batch for the opener; nothing where no total is due."""
        due = state.batch >= 0 and state.learning
        if due != bool(total):
            raise Reject("turn-batch", "expected a total exactly where a batch was worked on")
        if not due:
            return state, b""
        places = self.batches.places(state.batch)
        x, num = self.train[places], len(state.w)
        s = self.rules.spec.score(x, state.w)
        rest = self.sums.unmask(total, num, state.seed) if self.accord.third else self.sums.open_own(total, num)
        gradient = x.T @ s + rest
        square = self.rules.spec.slope * float(state.w @ gradient)
        term = self.sums.seal_sums(opener_of(self.accord), np.array([square]))
        return replace(state, w=self.rules.spec.step(state.w, gradient, len(places))), term

    def _cross(self, state: FeatureState, batch: int) -> list[bytes]:
        places = self.batches.places(batch)
        check_rows(len(places))
        s = self.rules.spec.score(self.train[places], state.w)
        rows = places.tolist()
        return [self.sums.cross(key_of(self.accord, q), self._held[q], rows, s) for q in self.others]

    def _remember(self, state: FeatureState) -> None:
        """Keys and held columns as objects, made once from the state's bytes."""
        if state.facts != self._known:
            keys, _ = read_facts(state.facts, len(self.accord.parties))
            self.sums.learn_keys(keys)
            self._known = state.facts
        if state.held is not self._held_of and state.held:
            _, widths = read_facts(state.facts, len(self.accord.parties))
            self._held = {
                q: self.sums.hold(key_of(self.accord, q), blob, (len(self.train), widths[q]))
                for q, blob in zip(self.others, state.held, strict=True)
            }
            self._held_of = state.held


def read_facts(facts: tuple[bytes, ...], parties: int) -> tuple[list[bytes], list[int]]:
    """Each party's public key (empty: none) and number of columns (0: none). Reject what is malformed."""
    if len(facts) != parties or any(len(fact) < 4 for fact in facts):
        raise Reject("turn-malformed", f"expected a key and a number of columns of each of {parties} parties")
    widths = [int.from_bytes(fact[:4], "little") for fact in facts]
    if max(widths) > COLUMNS_MAX:
        raise Reject("turn-malformed", f"expected at most {COLUMNS_MAX} columns, got {max(widths)}")
    return [fact[4:] for fact in facts], widths
