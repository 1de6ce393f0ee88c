"""How good the line to each neighbour is, seen from the messages that pass anyway. Knows sizes and times; no meaning.

latency     half of the shortest time from a message without a body to its short answer: an upper bound, since a
            first message also opens a connection
bandwidth   bytes of bodies, both ways, over the time beyond that round trip, of the best exchange: a lower bound, since
            the neighbour's own work is in it. A transfer that took less than a tenth of its round trip cannot be told
            from noise: no more than ten times what bytes / time gives is reported
"""

from collections.abc import Hashable
from typing import TypedDict

from p2pfl.core.ids import NodeId
from p2pfl.wire.post import Heard, Post

SMALL_BYTES = 1024
"""Bodies up to this say nothing about bandwidth, and larger ones nothing about latency."""

VISIBLE = 0.1
"""The share of an exchange's time that a transfer has at least, if its length is to be believed."""


class Line(TypedDict):
    """One neighbour's, in `GET /v1/status`; None: not seen yet."""

    peer: str
    latency_ms: float | None
    bandwidth_mbps: float | None


class Gauge:
    """Of one node. One open post per key, as for the job; so memory is bounded by its neighbours."""

    def __init__(self) -> None:
        self._open: dict[Hashable, tuple[NodeId, float, int]] = {}
        self._trip_s: dict[NodeId, float] = {}
        self._carried: dict[NodeId, tuple[float, int]] = {}  # of the best exchange: seconds, bytes

    def posted(self, post: Post, now: float) -> None:
        """A message leaves; its time runs until `heard` or `lost`."""
        self._open[post.key] = (post.to, now, sum(len(part) for part in post.body))

    def heard(self, event: Heard, now: float) -> None:
        """Its answer is here. Refusals say nothing: they may come before the body was sent."""
        peer, since, size_bytes = self._open.pop(event.key, (None, 0.0, 0))
        took_s = now - since
        if peer is None or event.message is None or took_s <= 0:
            return
        size_bytes += len(event.body)
        if size_bytes <= SMALL_BYTES:
            self._trip_s[peer] = min(took_s, self._trip_s.get(peer, took_s))
            return
        best_s, best_bytes = self._carried.get(peer, (took_s, 0))
        if size_bytes * best_s > best_bytes * took_s:
            self._carried[peer] = (took_s, size_bytes)

    def lost(self, key: Hashable) -> None:
        """No answer came."""
        self._open.pop(key, None)

    def lines(self) -> list[Line]:
        """What is known, neighbours ascending."""
        peers = sorted(self._trip_s.keys() | self._carried.keys())
        return [{"peer": p.hex(), "latency_ms": self._latency_ms(p), "bandwidth_mbps": self._mbps(p)} for p in peers]

    def _latency_ms(self, peer: NodeId) -> float | None:
        trip_s = self._trip_s.get(peer)
        return None if trip_s is None else round(trip_s * 500, 3)

    def _mbps(self, peer: NodeId) -> float | None:
        if peer not in self._carried:
            return None
        took_s, size_bytes = self._carried[peer]
        transfer_s = max(took_s - self._trip_s.get(peer, 0.0), VISIBLE * took_s)
        return round(size_bytes * 8 / 1e6 / transfer_s, 3)
