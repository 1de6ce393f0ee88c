"""A small honest state for tests of finality: counts entries, freezes who is convicted, changes validators by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from p2pfl.core.ids import NodeId
from p2pfl.ledger.blocks.block import FORK, Execution, Fault, Place
from p2pfl.ledger.blocks.faults import judge
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.wire import canonical


@dataclass(frozen=True)
class ToyState:
    digest: bytes = bytes(32)
    epoch: int = 0
    ends: tuple[tuple[bytes, int, int], ...] = ()
    """Frozen feeds: author, incarnation, last seq."""
    convicted: frozenset[bytes] = frozenset()
    last: dict[tuple[bytes, int], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Toy:
    """`pool` in a circle; each epoch the window of `n` validators moves on by `step`."""

    net: bytes
    pool: tuple[NodeId, ...]
    n: int
    step: int = 0

    def validators(self, epoch: int) -> tuple[NodeId, ...]:
        start = epoch * self.step
        return tuple(self.pool[(start + i) % len(self.pool)] for i in range(self.n))

    def genesis(self) -> Execution:
        return self._outcome(ToyState())

    def execute(self, state: ToyState, place: Place, entries: Sequence[Entry], evidence: Sequence[Fault]) -> Execution:
        digest = sha256(state.digest + canonical.packb([*place, *(e.id for e in entries)])).digest()
        last = {**state.last, **{(e.author, e.incarnation): e.seq for e in entries}}
        state = replace(state, digest=digest, last=last, epoch=state.epoch + place.closes_epoch)
        for fault in evidence:
            judged = judge(fault, self.net)
            state = replace(state, convicted=state.convicted | {judged.author})
            if judged.kind == FORK:
                feed = (judged.author, judged.where[0])
                end = (*feed, max(judged.where[1] - 1, last.get(feed, -1)))
                state = replace(state, ends=tuple(sorted({*state.ends, end})))
        return self._outcome(state)

    def ceiling(self, state: ToyState, author: NodeId, incarnation: int) -> int | None:
        return next((seq for a, i, seq in state.ends if (a, i) == (author, incarnation)), None)

    def wants(self, state: ToyState, fault: Fault) -> bool:
        kind, author, _ = judge(fault, self.net)
        return author not in state.convicted and (kind == FORK or author in self.validators(state.epoch))

    def _outcome(self, state: ToyState) -> Execution:
        root = sha256(state.digest + canonical.packb([list(map(list, state.ends)), sorted(state.convicted)])).digest()
        return Execution(state, root, bytes(32), self.validators(state.epoch))
