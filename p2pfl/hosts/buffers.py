"""Warm memory for bodies. Knows sizes; knows no message.

A fresh 40 MB buffer costs more (page faults, zeroing) than moving 40 MB through a local socket, so buffers are used
again. A buffer is free when nobody holds a view of it any more. The pool asks the bytearray itself: one that is viewed
refuses to change its length (BufferError). So no caller has to hand anything back, and bytes that somebody still looks
at, in a task or in an array made from them, are never overwritten.
"""

from p2pfl.core.limits import CHUNK_BYTES, KIB

SMALL_BYTES = 64 * KIB
"""Below this the allocator is as quick as the pool."""

SLACK = 2
"""A buffer serves sizes down to a half of its own."""


class BufferPool:
    """Holds at most `bytes_max` bytes. A buffer beyond that still works; it is only not kept."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._kept: list[bytearray] = []  # oldest first

    def take(self, size: int) -> memoryview:
        """A writable view of `size` bytes, of unknown content if a buffer is reused."""
        if size < SMALL_BYTES:
            return memoryview(bytearray(size))
        fitting = [b for b in self._kept if size <= len(b) <= max(SLACK * size, CHUNK_BYTES) and _unseen(b)]
        buffer = min(fitting, key=len, default=None)
        if buffer is None:
            buffer = bytearray(-(-size // SMALL_BYTES) * SMALL_BYTES)
            self._keep(buffer)
        return memoryview(buffer)[:size]

    def _keep(self, buffer: bytearray) -> None:
        self._kept.append(buffer)
        while sum(map(len, self._kept)) > self._bytes_max:
            self._kept.pop(0)


def _unseen(buffer: bytearray) -> bool:
    """Whether no view of a non-empty `buffer` is alive. Shrinks and grows it by one byte, which moves nothing."""
    try:
        buffer.append(buffer.pop())
    except BufferError:
        return False
    return True
