"""What waits to be said to each neighbour: one slot each, and the newest wins. Knows attempts; not what is said.

A neighbour that is slow to take things never makes a queue: what is on its way to it is finished, and of all that came
up meanwhile only the last follows. (iroh-gossip and others froze behind queues of models.)
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.horizontal.pace.patience import Patience, asked_for
from p2pfl.horizontal.pace.probes import Probes

T = TypeVar("T")


class Outbox(Generic[T]):
    """`post(peer, what, deadline)`: one attempt, which ends with `taken` or `failed`."""

    def __init__(self, recipe: bytes, desk: Desk, patience: Patience, post: Callable[[NodeId, T, float], None]) -> None:
        self.desk, self.patience, self.post = desk, patience, post
        self.probes = Probes(recipe, desk, patience, self._next)
        self.waiting: dict[NodeId, T] = {}
        self.under_way: dict[NodeId, T] = {}
        self.replaced = 0
        self._resting: set[NodeId] = set()  # whose next attempt waits for its timer

    @property
    def is_idle(self) -> bool:
        """Nothing is owed to a neighbour that can be reached."""
        owed = self.waiting.keys() | self.under_way.keys()
        return all(self.patience.is_open(peer) for peer in owed)

    def put(self, peer: NodeId, what: T) -> None:
        self.replaced += peer in self.waiting
        self.waiting[peer] = what
        self._next(peer)

    def drop(self, peer: NodeId) -> None:
        """It wants nothing any more."""
        self.waiting.pop(peer, None)
        self.under_way.pop(peer, None)
        self._resting.discard(peer)
        self.patience.forget(peer)

    def taken(self, peer: NodeId) -> T | None:
        """Returns what it has taken."""
        what = self.under_way.pop(peer, None)
        self.patience.answered(peer, self.desk.now)
        self.patience.arrived(peer)
        self._next(peer)
        return what

    def failed(self, peer: NodeId, reason: str, after_s: float = 0.0) -> None:
        """after_s: it is there, and wants to be left alone so long."""
        what = self.under_way.pop(peer, None)
        if what is None:
            return
        self.waiting.setdefault(peer, what)  # unless there is newer
        if after_s > 0:
            self._rest(peer, asked_for(after_s) * (1 + self.desk.jitter(peer, "busy", self.replaced)))
            return
        count = self.patience.failed(peer)
        if self.patience.exhausted(peer, self.desk.now):
            self.probes.give_up(peer, reason)
        else:
            self._rest(peer, self.patience.pause_s(peer) * self.desk.jitter(peer, "retry", count))

    def retry(self, peer: NodeId) -> None:
        """The pause is over."""
        self._resting.discard(peer)
        self._next(peer)

    def _rest(self, peer: NodeId, pause_s: float) -> None:
        self._resting.add(peer)
        self.desk.timer(("retry", peer), pause_s)

    def _next(self, peer: NodeId) -> None:
        blocked = peer in self.under_way or peer in self._resting or self.patience.is_open(peer)
        if peer in self.waiting and not blocked:
            self.under_way[peer] = what = self.waiting.pop(peer)
            self.post(peer, what, self.patience.ask(peer, self.desk.now))
