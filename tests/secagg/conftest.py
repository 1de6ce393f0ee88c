"""A cell in memory with real keys and signatures: everybody's steps in lockstep, with drop-outs and liars."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive, root
from p2pfl.errors import Reject
from p2pfl.horizontal.cells.notary import WireNotary
from p2pfl.secagg.blame import Blame, SecAggAbort
from p2pfl.secagg.cell import Cell, slices
from p2pfl.secagg.chair import Chair
from p2pfl.secagg.masks import Words
from p2pfl.secagg.member import Member
from p2pfl.secagg.onetime import SeenKeys
from p2pfl.secagg.rounding import Grid
from p2pfl.secagg.sheet import Sheet, open_sheet
from p2pfl.secagg.statements import CellMessage, Statement, Step
from p2pfl.secagg.vectors import covered, lifted, mean
from p2pfl.wire.envelope import chunk_digests, open_head, seal
from p2pfl.wire.keyfile import Signer

NETWORK, RECIPE = bytes(range(32)), bytes(32)
Lie = Callable[[NodeId, Step, tuple[Any, ...]], tuple[Any, ...]]


@dataclass(eq=False)
class Town:
    """One cell. `gone[m] = step`: m says nothing from that step on. `lie` may change what a member says, `forge` the
    slices that it sums."""

    cell: Cell
    signers: Mapping[NodeId, Signer]
    vectors: Mapping[NodeId, NDArray[np.float64]]
    grid: Grid
    seed: int = 0
    gone: dict[NodeId, Step] = field(default_factory=dict)
    lie: Lie = lambda who, step, payload: payload
    forge: Callable[[NodeId, Words], Words] = lambda who, words: words
    seen: dict[NodeId, SeenKeys] = field(default_factory=dict)
    members: dict[NodeId, Member] = field(default_factory=dict)
    ended: dict[NodeId, Exception] = field(default_factory=dict)
    means: dict[NodeId, NDArray[np.float64]] = field(default_factory=dict)
    masked: dict[NodeId, Words] = field(default_factory=dict)
    said: list[Statement] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.notary = WireNotary(NETWORK, RECIPE)
        self.chair = Chair(self.cell, self.notary)
        for me in self.cell.members:
            secret = derive(root(self.seed), "secret", me, self.cell.id)
            self.members[me] = Member(self.cell, me, secret, self.notary, 7, self.seen.get(me))

    def alive(self, step: Step) -> list[NodeId]:
        order = [Step.KEYS, Step.SHARES, Step.SLICE, Step.HELD, Step.ANSWERS, Step.TOTAL]
        return [
            m
            for m in self.cell.members
            if m not in self.ended and (m not in self.gone or order.index(self.gone[m]) > order.index(step))
        ]

    def statement(self, who: NodeId, step: Step, payload: tuple[Any, ...], body: bytes = b"") -> Statement:
        """Signed, and through the wire's bytes."""
        message = CellMessage(RECIPE, self.cell.chair, self.cell.id, self.cell.round, step, payload)
        head = open_head(seal(self.signers[who], NETWORK, message.KIND, message.to_fields(), (body,))[0])
        return Statement(who, CellMessage.from_fields(head.fields), chunk_digests((body,)), head.raw)

    def speak(self, step: Step, payloads: Mapping[NodeId, tuple[Any, ...]]) -> dict[NodeId, Sheet]:
        """Everybody's statement to the chair; -> the sheet, as each of them opens it."""
        if self.cell.chair not in payloads:
            return {}
        for who, payload in payloads.items():
            said = self.lie(who, step, payload)
            if who == self.cell.chair:
                self.chair.own(step, said)
            else:
                statement = self.statement(who, step, said)
                self.said.append(statement)
                self.chair.heard(statement)
        mine, body = self.chair.close(step)
        own = tuple(mine.payloads[self.cell.chair])
        found = {self.cell.chair: mine}
        for who in payloads:
            if who != self.cell.chair:
                sent = self.statement(self.cell.chair, Step(step + 1), own, body)
                found[who] = open_sheet(self.cell, Step(step + 1), sent, body, self.notary)
        return found

    def step(self, who: NodeId, call: Callable[[Sheet], Any], sheet: Sheet) -> Any:
        try:
            return call(sheet)
        except (Blame, SecAggAbort, Reject) as error:
            self.ended[who] = error
            return None

    def run(self) -> None:
        """To the end; what came of it is in `means`, `ended` and the members' `blames`."""
        m = self.members
        rosters = self.speak(Step.KEYS, {who: m[who].keys.payload() for who in self.alive(Step.KEYS)})
        deals = {who: self.step(who, m[who].deal, sheet) for who, sheet in rosters.items()}
        deals = {who: deal.payload() for who, deal in deals.items() if deal and who in self.alive(Step.SHARES)}
        dealt = self.speak(Step.SHARES, deals)
        covers = {who: self.step(who, m[who].cover, sheet) for who, sheet in dealt.items()}
        covers = {who: cover for who, cover in covers.items() if cover}
        for who, cover in covers.items():
            key = derive(root(self.seed), "rounding", who)
            self.masked[who] = covered(self.grid, self.vectors[who], key, cover)
        sent = frozenset(who for who in self.alive(Step.SLICE) if who in covers)
        held = {who: m[who].held(sent).payload() for who in self.alive(Step.HELD) if who in covers}
        survivors = self.speak(Step.HELD, held)
        answers = {who: self.step(who, m[who].answers, sheet) for who, sheet in survivors.items()}
        answers = {who: a.payload() for who, a in answers.items() if a and who in self.alive(Step.ANSWERS)}
        opened = self.speak(Step.ANSWERS, answers)
        self.totals(opened)

    def totals(self, opened: Mapping[NodeId, Sheet]) -> None:
        size = len(next(iter(self.vectors.values())))
        sums: dict[int, Words] = {}
        lifts = {who: self.step(who, self.members[who].lift, opened[who]) for who in opened}
        lifts = {who: lifting for who, lifting in lifts.items() if lifting}
        for who, lifting in lifts.items():
            member = self.members[who]
            parts = slices(size, len(member.deals))
            for number in member.heirs.get(who, ()):
                part = parts[number]
                words = [self.masked[s][part.start : part.stop] for s in lifting.survivors]
                sums[number] = self.forge(who, lifted(words, lifting, part.start))
        for who, lifting in lifts.items():
            if len(sums) == len(self.members[who].deals):
                self.means[who] = mean(self.grid, [sums[k] for k in sorted(sums)], len(lifting.survivors))

    def blamed(self) -> dict[str, set[NodeId]]:
        """Who was named, by code, by anybody."""
        found: dict[str, set[NodeId]] = {}
        for blame in [*self.ended.values(), *(b for m in self.members.values() for b in m.blames)]:
            if isinstance(blame, Blame):
                found.setdefault(blame.code, set()).add(blame.member)
        return found


def make_town(size: int, words: int, seed: int, reach: float = 8.0, round_: int = 3, **kwargs: Any) -> Town:
    signers = [Signer(derive(root(seed), "signer", number)) for number in range(size)]
    by_node = {signer.node: signer for signer in sorted(signers, key=lambda s: s.node)}
    cell = Cell(tuple(by_node), derive(root(seed), "context"), round_)
    rng = np.random.default_rng(seed)
    vectors = {node: rng.uniform(-reach, reach, words) for node in by_node}
    return Town(cell, by_node, vectors, Grid(reach, size), seed, **kwargs)


@pytest.fixture
def town() -> Callable[..., Town]:
    return make_town


def plain_mean(town: Town, who: Sequence[NodeId]) -> NDArray[np.float64]:
    total: NDArray[np.float64] = np.mean([town.vectors[node] for node in who], axis=0)
    return total


@pytest.fixture
def mean_of() -> Callable[..., NDArray[np.float64]]:
    return plain_mean


__all__ = ["Key", "Town"]
