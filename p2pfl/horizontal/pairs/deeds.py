"""What a node did since it last committed to its work: its own local updates, and one message that binds them. Knows
models and messages; knows no window of the ledger and no evaluator.

The message that will stand for the work is not the author's to choose: of all it said, it is the one with the smallest
coin, where

    coin = BLAKE3(digest of my message at (edge, seq) || digest of the other end's message at (edge, seq + 1))

is known only when the other end has spoken again, so whoever says something false on the wire must expect that just
that message is drawn. Both digests are in the feeds, so anybody can check the choice. Kept are one message per edge,
and the best so far: each a model, which is shared with whatever else looks at it and never copied.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from blake3 import blake3
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key
from p2pfl.horizontal.records.edge import Edge, Saying
from p2pfl.learn.training import Trained
from p2pfl.mixing.reference import Reference


@dataclass(frozen=True, eq=False)
class Told:
    """One message of mine. x (P,): the model it was made of.

    head: the other end's signed answer, or request, of the same exchange: it names the same reference.
    """

    number: int
    peer: NodeId
    epoch: int
    seq: int
    x: Tensor
    reference: Reference
    key: Key
    saying: Saying
    head: bytes = b""


class Deed(NamedTuple):
    """The local work of a span of rounds, update (P,), and the models (P,) that bind it to the wire: of the message
    that stands for it, and of the one before that.
    """

    first: int
    last: int
    before: Tensor
    after: Tensor
    update: Tensor
    told: Told

    @property
    def shift(self) -> Tensor:
        """What moved the model besides: exchanges, the drift correction, and work before and after the span."""
        return self.after - self.before - self.update


class Pull(NamedTuple):
    """What this end of an edge did to the other's model since the span began. work: of this node, when it was told."""

    total: Tensor
    work: float


class Deeds:
    """`bytes_said`: bodies of messages, all of this run: what valuing may take is a share of it."""

    def __init__(self, x: Tensor) -> None:
        self.edges: Collection[NodeId] = ()  # the exchange's: other members may only show their work
        self.pulled: Mapping[NodeId, Tensor] = {}  # (P,) bfloat16: what this end did to each neighbour in the last span
        self.total = torch.zeros_like(x)
        self.bytes_said = 0
        self._since = (x, -1)  # model and number of the message that stood for the last work
        self._turns = ((0, self.total), (0, self.total))  # rounds and totals at the two ends of the span
        self._open: dict[NodeId, Told] = {}
        self._last: dict[NodeId, Told] = {}
        self._best: tuple[bytes, Told] | None = None
        self._number = 0
        self._work = 0.0
        self._pulls: dict[NodeId, Pull] = {}
        self._whole = True  # nothing of the span was lost by a restart

    def restart(self, x: Tensor, round_: int) -> None:
        """A node is back with this model: what it did before, and has not committed to, is nobody's."""
        self._since = (x, self._number)
        self.pulled, self._pulls, self._whole = {}, {}, round_ == 0  # at its first start a node has lost nothing
        self._turns = ((round_, self.total), (round_, self.total))

    def trained(self, start: Tensor, shift: Tensor | None, trained: Trained) -> None:
        """A local phase has ended: without the drift correction, which is not of this node's data."""
        moved = trained.x - start
        self._work += trained.work
        self.total = self.total + (moved if shift is None else moved + trained.work * shift.to(moved.dtype))

    def said(self, edge: Edge, x: Tensor, key: Key, saying: Saying) -> None:
        """A message for this position was made of x; it may be made again, before it leaves."""
        self._number += 1
        where = (self._number, edge.peer, edge.epoch, edge.seq)
        self._open[edge.peer] = Told(*where, x, edge.reference, key, saying)

    def landed(self, edge: Edge, heard: bytes, head: bytes) -> None:
        """An exchange is about to be applied: `heard` names the other half's body, `head` is its signed head."""
        before, told = self._last.get(edge.peer), self._open.pop(edge.peer, None)
        if before is not None and (before.epoch, before.seq + 1) == (edge.epoch, edge.seq):
            self._consider(before, heard)
        self._last.pop(edge.peer, None)
        if told is not None and (told.epoch, told.seq) == (edge.epoch, edge.seq) and edge.pending is told.saying:
            self.bytes_said += len(told.saying.body)
            self._last[edge.peer] = replace(told, head=head)

    def moved(self, peer: NodeId, drift: Tensor | None, by: Tensor) -> None:
        """An exchange moves this end's model by `by`, and the other's by the opposite; so far its drift correction was
        `drift` here and the opposite there, and was taken off in each step that it trained since: as many as here."""
        before = self._pulls.get(peer)
        total = -by.to(self.total.dtype) if before is None else before.total - by.to(before.total.dtype)
        if drift is not None:
            total.add_(drift.to(total.dtype), alpha=0.0 if before is None else self._work - before.work)
        self._pulls[peer] = Pull(total, self._work)

    def _consider(self, told: Told, heard: bytes) -> None:
        coin = blake3(told.saying.digest + heard).digest()
        if told.number > self._since[1] and (self._best is None or coin < self._best[0]):
            self._best = (coin, told)

    def turn(self, round_: int) -> None:
        """A window of the ledger ends about now at every node, so the spans of all nodes are of the same time."""
        self._turns = (self._turns[1], (round_, self.total))
        whole = self._pulls if self._whole else {}
        self.pulled, self._whole = {peer: pull.total.to(torch.bfloat16) for peer, pull in whole.items()}, True
        left = {peer: pull.work for peer, pull in self._pulls.items() if peer in self.edges}
        self._pulls = {peer: Pull(torch.zeros_like(self.total), work) for peer, work in left.items()}

    def look(self) -> Deed | None:
        """The work of the last span; None if there was none yet, or if no message of mine can stand for it."""
        (first, before), (last, after) = self._turns
        if self._best is None or after is before:
            return None
        told = self._best[1]
        return Deed(first, last, self._since[0], told.x, after - before, told)

    def take(self) -> None:
        """That work is committed to."""
        assert self._best is not None
        told = self._best[1]
        self._since, self._best = (told.x, told.number), None
