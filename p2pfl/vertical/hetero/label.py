"""The label holder of encrypted regression: adds up what the others send, learns, watches the loss. Knows sums; no
message, no key.

What it sees of others: ciphertexts under keys that it does not hold, its own gradient, the loss of each batch (once all
terms are in, a batch or two later), and the scores of rows held out, which it is to have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Task
from p2pfl.errors import ConfigError, Reject
from p2pfl.vertical.data.metrics import binary_metrics, number_metrics
from p2pfl.vertical.hetero.feature import read_facts
from p2pfl.vertical.hetero.linear import Floats, check_rows, prepared
from p2pfl.vertical.hetero.rules import FEATURES, Batches, Rules, key_of, opener_of, standardised
from p2pfl.vertical.hetero.state import HELD, LOSS, SCORES, TOTAL, Closed, LabelState, pack_state, unpack_state
from p2pfl.vertical.hetero.sums import Held, Sums
from p2pfl.vertical.turns.messages import (
    Accord,
    Blame,
    Kind,
    Move,
    Moved,
    Request,
    checked,
    parts_of,
)

SQUARE_SLACK = 1e-2
"""A mean of squares may come out so far below 0 by rounding."""


class LabelHolder:
    """An AskWork. x (n, F) own columns, y (n,): 0 or 1 for logistic regression, any numbers for linear."""

    def __init__(self, accord: Accord, rules: Rules, x: Floats, y: NDArray[Any], sums: Sums) -> None:
        self.accord, self.rules, self.sums = accord, rules, sums
        if not len(x) == len(y) == rules.rows:
            raise ConfigError(f"{accord.parties[0][0]}: expected {rules.rows} aligned rows, got {len(x)} and {len(y)}")
        self.y, self.batches = np.asarray(y, np.float64), Batches(rules)
        train = self.batches.train
        own = standardised(x, train) if x.shape[1] else x
        self.x = prepared(np.column_stack([own, np.ones(len(y))]), rules.spec.clip)
        self.centre, self.scale = self._unit(train)
        target = rules.spec.target((self.y - self.centre) / self.scale)
        self.target = FEATURES.encode(target, "labels") / 2.0**FEATURES.bits
        self.columns = np.column_stack([self.x, self.target])[train]
        self.features = list(accord.feature_holders)
        self._known: tuple[bytes, ...] = ()
        self._held: dict[int, Held] = {}
        self._held_of: tuple[bytes, ...] = ()
        self._widths: list[int] = []

    def start(self) -> tuple[LabelState, Mapping[int, Request]]:
        asked = range(1, len(self.accord.parties))
        return LabelState(np.zeros(self.x.shape[1])), {party: Request(Kind.HELLO) for party in asked}

    def metrics(self, state: Any) -> dict[str, float | None]:
        s: LabelState = state
        z = s.scores / self.rules.spec.slope
        labels = self.y[self.batches.test]
        if self.rules.spec.kind == "linear":
            return number_metrics(labels, z * self.scale + self.centre)
        return binary_metrics(labels.astype(np.int64), 1.0 / (1.0 + np.exp(-z)))

    def progress(self, state: Any) -> tuple[int, int]:
        s: LabelState = state
        done = (
            self.rules.num_steps if s.testing else s.index if s.phase == Kind.STEP else s.index + (s.phase == Kind.OPEN)
        )
        return done, self.rules.num_steps

    def pack(self, state: Any) -> bytes:
        return pack_state(state)

    def unpack(self, state: bytes, kept: Mapping[bytes, bytes]) -> LabelState:
        return unpack_state(state, kept, self.x.shape[1])

    def run(self, task: Task) -> Any:
        assert isinstance(task, Move)
        self.sums.turn(derive(task.key, "draws"))
        try:
            return self._move(task.state, task.answers, task.key)
        except Blame as blame:
            return blame.fault

    def _move(self, state: LabelState, answers: Mapping[int, bytes], key: Key) -> Moved:
        self._remember(state)
        match state.phase, state.testing:
            case Kind.HELLO, _:
                return self._hello(state, answers)
            case Kind.KEYS, _:
                return self._share(state, answers)
            case Kind.HOLD, _:
                for party, raw in answers.items():
                    parts_of(party, raw, 0)
                requests = {party: Request(Kind.STEP, 0, (b"",)) for party in self.features}
                return Moved(replace(state, phase=Kind.STEP), requests)
            case Kind.STEP, _:
                return self._step(state, answers, key)
            case Kind.TEST, _:
                return self._test(state, answers, key)
            case _, True:
                return self._tested(state, answers)
        return self._opened(state, answers)

    # ------------------------------------------------------------------------------------------- before training

    def _hello(self, state: LabelState, answers: Mapping[int, bytes]) -> Moved:
        own = self.columns.shape[1].to_bytes(4, "little") + self.sums.own_key()
        facts = (own, *(parts_of(party, raw, 1)[0] for party, raw in sorted(answers.items())))
        state = replace(state, facts=facts, phase=Kind.KEYS)
        self._remember(state)
        return Moved(state, {party: Request(Kind.KEYS, 0, facts) for party in self.features})

    def _share(self, state: LabelState, answers: Mapping[int, bytes]) -> Moved:
        """Everybody gets what everybody else sealed."""
        own = self.sums.seal_columns(key_of(self.accord, 0), self.columns)
        sealed = {0: own} | {party: parts_of(party, raw, 1)[0] for party, raw in answers.items()}
        held = tuple(sealed[party] for party in self.features)
        state = replace(state, held=held, phase=Kind.HOLD)
        self._remember(state)
        requests = {
            party: Request(Kind.HOLD, 0, tuple(blob for owner, blob in sorted(sealed.items()) if owner != party))
            for party in self.features
        }
        return Moved(state, requests, keep={HELD: msgpack.packb(list(held))})

    # --------------------------------------------------------------------------------------------------- training

    def _step(self, state: LabelState, answers: Mapping[int, bytes], key: Key) -> Moved:
        """All have worked on batch `index`, and learned from the one before."""
        num = self.accord.num_data - 1
        parts = self._read(state, answers, num, state.index > 0)
        state, loss = self._settle(state, parts[1][2 + num :])
        closed, to_open = self._close_loss(state, parts, key)
        totals = self._totals(state, {party: found[2 : 2 + num] for party, found in parts.items()})
        if self.accord.third:
            return self._ask_opener(state, parts, totals, (closed, to_open), key, loss)
        rest = checked(0, self.sums.open_own, totals[0], self._widths[0])
        return self._next(replace(self._learn(state, rest), closed=closed), totals, to_open, loss)

    def _ask_opener(
        self,
        state: LabelState,
        parts: Mapping[int, Sequence[bytes]],
        totals: Mapping[int, bytes],
        loss_closed: tuple[tuple[Closed, ...], tuple[bytes, ...]],
        key: Key,
        loss: float | None,
    ) -> Moved:
        """With a third party: each total goes there under its owner's mask."""
        holder, seed = opener_of(self.accord), derive(key, TOTAL)
        masks = {0: self.sums.seal_mask(holder, self._widths[0], seed)} | {p: found[1] for p, found in parts.items()}
        blobs = [
            checked(party, self.sums.add, holder, [total, masks[party]], self._widths[party])
            for party, total in sorted(totals.items())
        ]
        closed, to_open = loss_closed
        state = replace(state, phase=Kind.OPEN, closed=((TOTAL, seed, 0.0), *closed))
        return Moved(state, {holder: Request(Kind.OPEN, state.index, (*blobs, *to_open))}, loss)

    def _opened(self, state: LabelState, answers: Mapping[int, bytes]) -> Moved:
        """The third party has opened all totals, and perhaps the loss of the batch before."""
        holder, num = opener_of(self.accord), self.accord.num_data
        found = parts_of(holder, answers[holder], num + len(state.closed) - 1)
        (_, seed, _), *closed = state.closed
        rest = checked(holder, self.sums.unmask, found[0], self._widths[0], seed)
        state, loss = self._settle(replace(state, closed=tuple(closed)), found[num:])
        totals = {party: found[party] for party in self.features}
        return self._next(self._learn(state, rest), totals, (), loss)

    def _next(
        self, state: LabelState, totals: Mapping[int, bytes], to_open: tuple[bytes, ...], loss: float | None
    ) -> Moved:
        """The request of the next batch, or of the first rows held out; `to_open` goes to who opens."""
        index, rules = state.index + 1, self.rules
        ends = index % rules.per_epoch == 0
        last = index == rules.num_steps or (ends and self._converged(state))
        epoch = index // rules.per_epoch if ends else None
        kind, index = (Kind.TEST, 0) if last else (Kind.STEP, index)
        opener = opener_of(self.accord)
        requests = {
            party: Request(kind, index, (totals[party], *(to_open if party == opener else ())))
            for party in self.features
        }
        return Moved(replace(state, phase=kind, index=index, testing=last), requests, loss, epoch)

    def _learn(self, state: LabelState, rest: Floats) -> LabelState:
        """The next weights, and my own part of the loss; the last of my columns are the labels."""
        places = self.batches.places(state.index)
        check_rows(len(places))
        spec, x = self.rules.spec, self.columns[places]
        gradient = x.T @ self._residual(state, places) + rest
        base = spec.slope * float(state.w @ gradient[:-1]) - float(gradient[-1])
        return replace(state, w=spec.step(state.w, gradient[:-1], len(places)), base=base)

    def _totals(self, state: LabelState, crossed: Mapping[int, Sequence[bytes]]) -> dict[int, bytes]:
        """For each party the sealed sum of what all others made of its columns: what its gradient lacks."""
        places = self.batches.places(state.index)
        own, rows = self._residual(state, places), places.tolist()
        totals = {}
        for party in range(self.accord.num_data):
            key = key_of(self.accord, party)
            total = None if not party else self.sums.cross(key, self._held[party], rows, own)
            for other in self.features:
                if other != party:
                    place = party if party < other else party - 1
                    total = self._added(other, key, total, crossed[other][place], self._widths[party])
            assert total is not None
            totals[party] = total
        return totals

    def _residual(self, state: LabelState, places: NDArray[np.int64]) -> Floats:
        """d_L of a batch."""
        x = self.columns[places]
        return self.rules.spec.score(x[:, :-1], state.w) - x[:, -1]

    # ------------------------------------------------------------------------------------------------ the loss

    def _close_loss(
        self, state: LabelState, parts: Mapping[int, Sequence[bytes]], key: Key
    ) -> tuple[tuple[Closed, ...], tuple[bytes, ...]]:
        """The other terms of the loss of the batch learned last, added and masked, for the opener."""
        terms = {party: found[0] for party, found in parts.items() if found[0]}
        if not terms:
            return (), ()
        opener, seed = opener_of(self.accord), derive(key, LOSS)
        total: bytes | None = self.sums.seal_mask(opener, 1, seed)
        for party, term in terms.items():
            total = self._added(party, opener, total, term, 1)
        assert total is not None
        return ((LOSS, seed, state.base),), (total,)

    def _settle(self, state: LabelState, opened: Sequence[bytes]) -> tuple[LabelState, float | None]:
        """What the opener was given is open: take my masks off."""
        opener, spec = opener_of(self.accord), self.rules.spec
        loss = None
        for (name, seed, base), blob in zip(state.closed, opened, strict=True):
            if name == LOSS:
                rows = self.rules.num_train // self.rules.per_epoch  # of a batch, but for one
                square = base + float(checked(opener, self.sums.unmask, blob, 1, seed)[0])
                if square < -SQUARE_SLACK * rows:
                    raise Blame(opener, Reject("regression-loss", f"expected a sum of squares, got {square:.3g}"))
                loss = spec.loss(square, rows)
                state = replace(state, losses=np.append(state.losses, loss))
            else:
                rows_held = self.batches.held_out(state.index)
                others = checked(opener, self.sums.unmask, blob, len(rows_held), seed)
                own = spec.score(self.x[rows_held], state.w)
                state = replace(state, scores=np.append(state.scores, own + others))
        return replace(state, closed=()), loss

    def _converged(self, state: LabelState) -> bool:
        """Whether the mean loss of the last epoch's worth of batches fell by less than `tolerance`."""
        steps = self.rules.per_epoch
        if not self.rules.tolerance or len(state.losses) < 2 * steps:
            return False
        before, last = state.losses[-2 * steps : -steps], state.losses[-steps:]
        return float(before.mean() - last.mean()) < self.rules.tolerance

    # ------------------------------------------------------------------------------------------- rows held out

    def _test(self, state: LabelState, answers: Mapping[int, bytes], key: Key) -> Moved:
        """All have sealed their scores of some rows held out: the opener gets their masked sum."""
        parts = self._read(state, answers, 1, state.index == 0)
        state, loss = self._settle(state, parts[1][3:])
        opener, seed = opener_of(self.accord), derive(key, SCORES)
        num = len(self.batches.held_out(state.index))
        total: bytes | None = self.sums.seal_mask(opener, num, seed)
        for party, found in parts.items():
            total = self._added(party, opener, total, found[2], num)
        assert total is not None
        closed, to_open = self._close_loss(state, parts, key)
        state = replace(state, phase=Kind.OPEN, closed=((SCORES, seed, 0.0), *closed))
        return Moved(state, {opener: Request(Kind.OPEN, state.index, (total, *to_open))}, loss)

    def _tested(self, state: LabelState, answers: Mapping[int, bytes]) -> Moved:
        opener = opener_of(self.accord)
        state, loss = self._settle(state, parts_of(opener, answers[opener], len(state.closed)))
        index = state.index + 1
        if index == self.rules.num_tests:
            return Moved(state, {}, loss)
        requests = {party: Request(Kind.TEST, index, (b"",)) for party in self.features}
        return Moved(replace(state, phase=Kind.TEST, index=index), requests, loss)

    # ------------------------------------------------------------------------------------------------------ small

    def _read(
        self, state: LabelState, answers: Mapping[int, bytes], num: int, due: bool
    ) -> dict[int, tuple[bytes, ...]]:
        """Answers to a batch: a term of the loss if one is due, a mask if there is a third party, `num` parts of work,
        and what was opened."""
        found = {}
        for party, raw in sorted(answers.items()):
            opens = len(state.closed) if party == opener_of(self.accord) else 0
            parts = parts_of(party, raw, 2 + num + opens)
            if bool(parts[0]) != due or bool(parts[1]) != (self.accord.third and not state.testing):
                raise Blame(party, Reject("turn-malformed", "expected terms and masks where they are due"))
            found[party] = parts
        return found

    def _added(self, party: int, key: int, total: bytes | None, more: bytes, num: int) -> bytes:
        blobs = [more] if total is None else [more, total]
        return checked(party, self.sums.add, key, blobs, num)

    def _remember(self, state: LabelState) -> None:
        """Keys and held columns as objects, made once from the state's bytes."""
        if state.facts != self._known:
            keys, widths = self._facts(state.facts)
            self.sums.learn_keys(keys)
            self._known, self._widths = state.facts, widths
        if state.held is not self._held_of and state.held:
            for party, blob in zip(self.features, state.held, strict=True):
                shape = len(self.columns), self._widths[party]
                self._held[party] = checked(party, self.sums.hold, key_of(self.accord, party), blob, shape)
            self._held_of = state.held

    def _facts(self, facts: tuple[bytes, ...]) -> tuple[list[bytes], list[int]]:
        for party, fact in enumerate(facts):
            wrong = len(fact) < 4 or (key_of(self.accord, party) == party) != (len(fact) > 4)
            if wrong:
                raise Blame(party, Reject("paillier-key", "expected a number of columns, and a key of who holds one"))
            checked(party, self.sums.check_key, fact[4:])
        return read_facts(facts, len(facts))

    def _unit(self, train: NDArray[np.int64]) -> tuple[float, float]:
        """Labels of linear regression get mean 0 and deviation 1; those of logistic regression stay."""
        if self.rules.spec.kind == "logistic":
            if not np.isin(self.y, (0.0, 1.0)).all():
                raise ConfigError("expected labels 0 and 1 for logistic regression")
            return 0.0, 1.0
        if not np.isfinite(self.y).all():
            raise ConfigError("expected numbers as labels")
        return float(self.y[train].mean()), float(self.y[train].std()) or 1.0
