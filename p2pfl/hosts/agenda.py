"""Virtual time: what is to happen, and when. Knows calls and numbers; knows no Party.

Two calls due at one instant happen in the order in which they were entered, so a run depends on nothing but its calls.
A cancelled call leaves no trace in the clock: `now` moves only to instants at which something happens.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

_COMPACT_FROM = 64


class Ticket:
    """One entry, to cancel it by. `call` is None once it has happened or was cancelled."""

    __slots__ = ("args", "call")

    def __init__(self, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.call: Callable[..., None] | None = call
        self.args = args


class Agenda:
    """A heap of (time, sequence, call). Cancelled entries are swept when they are more than half of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Ticket]] = []
        self._sequence = 0
        self._cancelled = 0

    def at(self, time: float, call: Callable[..., None], *args: Any) -> Ticket:
        """Enter a call; a time that has passed means now."""
        ticket = Ticket(call, args)
        self._sequence += 1
        heappush(self._heap, (max(time, self.now), self._sequence, ticket))
        return ticket

    def after(self, delay: float, call: Callable[..., None], *args: Any) -> Ticket:
        return self.at(self.now + delay, call, *args)

    def cancel(self, ticket: Ticket) -> None:
        """Harmless if it has happened already."""
        if ticket.call is None:
            return
        ticket.call, ticket.args = None, ()
        self._cancelled += 1
        if self._cancelled > _COMPACT_FROM and 2 * self._cancelled > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].call is not None]
            heapify(self._heap)
            self._cancelled = 0

    def next_time(self) -> float | None:
        """When the next call is due; None if nothing is."""
        heap = self._heap
        while heap and heap[0][2].call is None:
            heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def step(self) -> None:
        """Move to the next call's instant and make the call. One must be due (`next_time`)."""
        self.now, _, ticket = heappop(self._heap)
        call, args = ticket.call, ticket.args
        assert call is not None
        ticket.call, ticket.args = None, ()
        call(*args)

    def skip_to(self, time: float) -> None:
        """Move the clock forward over an interval in which nothing is due."""
        self.now = max(self.now, time)

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled
