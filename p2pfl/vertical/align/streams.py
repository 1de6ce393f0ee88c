"""Chunks between two parties: what may be sent, what has come, what is acknowledged. Knows counts; knows no point.

Both ends count whole chunks from the first. The receiver acknowledges what it holds durably; the sender is at most
`ALIGN_WINDOW` chunks ahead of that, so both ends' memory is bounded and a restarted receiver says from where to go on.
"""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from p2pfl.vertical.align.bounds import ALIGN_WINDOW

T = TypeVar("T")


@dataclass(slots=True)
class Outflow:
    """The sender's end. `acked` <= `next` <= `acked` + window, except while an old acknowledgement is overtaken."""

    chunks: int = 0
    acked: int = 0
    next: int = 0

    @property
    def may_send(self) -> bool:
        return self.next < min(self.chunks, self.acked + ALIGN_WINDOW)

    @property
    def is_done(self) -> bool:
        return 0 < self.chunks <= self.acked

    def heard(self, have: int, again: bool) -> None:
        """The receiver holds `have` chunks; `again`: what was sent beyond them is lost, or may be."""
        self.acked = max(self.acked, have)
        self.next = self.acked if again else max(self.next, self.acked)


@dataclass(slots=True)
class Inflow(Generic[T]):
    """The receiver's end. `have` chunks are held durably; `raw` waits for its turn, `begun` is being worked on, `ready`
    is worked on but a chunk before it is not."""

    have: int = 0
    raw: dict[int, T] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)
    ready: dict[int, T] = field(default_factory=dict)

    def is_new(self, chunk: int) -> bool:
        return self.have <= chunk and chunk not in self.raw and chunk not in self.begun

    def fits(self, chunk: int) -> bool:
        """Is the chunk no further ahead than an honest sender goes?"""
        return chunk < self.have + ALIGN_WINDOW

    def begin(self) -> list[tuple[int, T]]:
        """What has come and is not yet worked on, in order; from now on it is."""
        found = sorted(self.raw.items(), key=lambda item: item[0])
        self.begun.update(self.raw)
        self.raw.clear()
        return found

    def finish(self, chunk: int, value: T) -> list[tuple[int, T]]:
        """A chunk is worked on: those that are now held, in order."""
        self.ready[chunk] = value
        held = []
        while self.have in self.ready:
            held.append((self.have, self.ready.pop(self.have)))
            self.begun.discard(self.have)
            self.have += 1
        return held
