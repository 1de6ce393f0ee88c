"""What waits to be said to each neighbour about the ledger. Pure; knows bytes and neighbours, no meaning.

A piece waits a moment for others, a lazy one longer, and a parcel takes all that waits: so what is not urgent goes with
what is. One parcel to a neighbour is under way at a time: the slower a neighbour, the fewer and larger its parcels.
What the neighbour says itself meanwhile need not be said to it any more, and of what is said `about` one thing only the
last waits.

A parcel that failed is sent again, with what came up since, after a pause that grows; whatever is in it does no harm
if it comes twice. A neighbour that has not answered `GIVE_UP` times in a row is away: what waits for it is stale by the
time it is back, and is dropped; from then on a parcel now and then looks for it, until it is heard again.

    body of a parcel = canonical msgpack [2, zlib of canonical msgpack [[talk, ..], [note, ..]]]

`talk` are messages of ledger/talk.py, `note` checkpoints (ledger/checkpoint.py). Layout: docs/formats/parcel.md.
Entries repeat the keys of a few nodes: squeezed, a parcel is about 0.7 of its length.
"""

import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from math import inf

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import KIB, MIB
from p2pfl.core.party import Buffer
from p2pfl.errors import Reject
from p2pfl.ledger.blocks.checkpoint import CHECKPOINT_BYTES_MAX
from p2pfl.ledger.feeds.bounds import MESSAGE_BYTES_MAX
from p2pfl.wire import canonical, fields

VERSION = 2
SQUEEZE = 1
"""zlib's level: the others take longer and hardly help."""
PARCEL_BYTES_MAX = MESSAGE_BYTES_MAX + 64 * KIB
PARCEL_BYTES = MIB
"""A parcel is closed when it holds so much: one message may be longer."""
PARCEL_ITEMS_MAX = 256
WAITING_MAX = 1024
"""Pieces that wait for one neighbour; the oldest are dropped."""
WAITING_BYTES_MAX = 2 * MESSAGE_BYTES_MAX
DELAY_S = 0.05
"""From a piece to the parcel that it goes with, at most; longer if the one before is still under way."""
PAUSE_S, PAUSE_S_MAX = 0.25, 8.0
GIVE_UP = 4
PATIENCE_S, PATIENCE_S_MIN = 2.0, 0.5
"""For the answer to a small parcel, before any came; and at least. Twice as long each time it failed."""
SLOW_BYTES_PER_S = 64 * KIB
"""The slowest link that a large parcel still passes."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`due`: when it is to leave at the latest."""

    is_note: bool
    raw: bytes
    about: bytes | None
    due: float

    @property
    def key(self) -> tuple[bool, bytes]:
        return self.is_note, self.about if self.about is not None else self.raw


@dataclass(eq=False)
class Box:
    """Of one neighbour: pieces in the order in which they are to be said; none leaves before `until`."""

    waiting: dict[tuple[bool, bytes], Piece] = field(default_factory=dict)
    waiting_bytes: int = 0
    sent: tuple[Piece, ...] | None = None
    """What the parcel under way holds."""
    sent_at: float = 0.0
    failures: int = 0
    until: float = 0.0
    patience_s: float = PATIENCE_S
    trip: tuple[float, float] | None = None
    """Seconds from a parcel to its answer: smoothed, and how far they are from that."""

    @property
    def idle(self) -> bool:
        """Everything was delivered."""
        return self.sent is None and not self.waiting

    @property
    def due(self) -> float:
        """When the next parcel is to leave; never, if that is not a matter of time."""
        if self.sent is not None or not self.waiting:
            return inf
        return max(self.until, min(piece.due for piece in self.waiting.values()))

    def answered(self, now: float) -> None:
        """As TCP sets its timer (Jacobson and Karels 1988; Karn: not by what was sent twice)."""
        if not self.failures:
            took = now - self.sent_at
            mean, spread = self.trip or (took, took / 2)
            self.trip = (0.875 * mean + 0.125 * took, 0.75 * spread + 0.25 * abs(took - mean))
            self.patience_s = max(PATIENCE_S_MIN, self.trip[0] + 4 * self.trip[1])
        self.sent, self.failures = None, 0

    def put(self, piece: Piece) -> None:
        """Behind the others; in the place of what it takes the place of."""
        before = self.waiting.get(piece.key)
        if before is not None and (before.raw == piece.raw or piece.about is None):
            return
        self._set(piece)

    def back(self, pieces: Iterable[Piece]) -> None:
        """Before the others, unless there is newer."""
        later, self.waiting, self.waiting_bytes = self.waiting, {}, 0
        for piece in [*(piece for piece in pieces if piece.key not in later), *later.values()]:
            self._set(piece)

    def drop(self, said: Collection[tuple[bool, bytes]]) -> None:
        """What these bytes say need not be said."""
        for key in [key for key, piece in self.waiting.items() if (piece.is_note, piece.raw) in said]:
            self.waiting_bytes -= len(self.waiting.pop(key).raw)

    def clear(self) -> None:
        self.waiting, self.waiting_bytes = {}, 0

    def close(self) -> tuple[Piece, ...]:
        """The next parcel's pieces, taken out."""
        taken: list[Piece] = []
        size = 0
        for piece in self.waiting.values():
            if taken and (len(taken) == PARCEL_ITEMS_MAX or size + len(piece.raw) > PARCEL_BYTES):
                break
            taken.append(piece)
            size += len(piece.raw)
        for piece in taken:
            del self.waiting[piece.key]
        self.waiting_bytes -= size
        return tuple(taken)

    def _set(self, piece: Piece) -> None:
        before = self.waiting.get(piece.key)
        self.waiting[piece.key] = piece
        self.waiting_bytes += len(piece.raw) - (len(before.raw) if before else 0)
        while len(self.waiting) > WAITING_MAX or self.waiting_bytes > WAITING_BYTES_MAX:
            self.waiting_bytes -= len(self.waiting.pop(next(iter(self.waiting))).raw)


class Outbox:
    """`put`, then `next_parcels`; every parcel ends with `delivered` or `failed`."""

    def __init__(self, neighbours: Iterable[NodeId], lazy_s: float = DELAY_S) -> None:
        self.boxes = {to: Box() for to in neighbours}
        self.lazy_s = lazy_s
        """As `DELAY_S`, for what is not urgent."""

    def put(
        self,
        raw: bytes,
        now: float,
        to: NodeId | None,
        but: NodeId | None = None,
        is_note: bool = False,
        lazy: bool = False,
        about: bytes | None = None,
    ) -> None:
        """For one neighbour, or (None) for all but one. What is for a stranger is dropped."""
        piece = Piece(is_note, raw, about, now + (self.lazy_s if lazy else DELAY_S))
        for name in (to,) if to is not None else self.boxes:
            box = self.boxes.get(name)
            if box is not None and name != but:
                box.put(piece)

    def next_parcels(self, now: float) -> list[tuple[NodeId, bytes]]:
        """What is to be sent now: at most one parcel for each neighbour."""
        found = []
        for to, box in self.boxes.items():
            if now >= box.due:
                box.sent, box.sent_at = box.close(), now
                talk, notes = ([p.raw for p in box.sent if p.is_note is kind] for kind in (False, True))
                found.append((to, pack(talk, notes)))
        return found

    def due(self) -> float:
        """When the next parcel is to leave; never, if that is not a matter of time."""
        return min((box.due for box in self.boxes.values()), default=inf)

    def away(self) -> frozenset[NodeId]:
        """Who has not answered for long."""
        return frozenset(to for to, box in self.boxes.items() if box.failures >= GIVE_UP)

    def patience_s(self, to: NodeId, size_bytes: int) -> float:
        """How long the answer to a parcel may take."""
        box = self.boxes[to]
        return box.patience_s * 2.0 ** min(box.failures, GIVE_UP) + size_bytes / SLOW_BYTES_PER_S

    def meet(self, neighbours: Iterable[NodeId]) -> None:
        """From now on these are the neighbours; what waits for others is dropped."""
        self.boxes = {to: self.boxes.get(to) or Box() for to in neighbours}

    def delivered(self, to: NodeId, now: float) -> None:
        if to in self.boxes:
            self.boxes[to].answered(now)

    def failed(self, to: NodeId, now: float) -> None:
        """It did not arrive, or was refused, or its answer was lost."""
        box = self.boxes.get(to)
        if box is None:
            return
        pieces, box.sent = box.sent or (), None
        box.until = now + min(PAUSE_S * 2**box.failures, PAUSE_S_MAX)
        box.failures = min(box.failures + 1, 16)
        if box.failures < GIVE_UP:
            box.back(pieces)
        else:
            box.clear()

    def heard(self, sender: NodeId, talk: Collection[bytes], notes: Collection[bytes], now: float) -> None:
        """The neighbour is there, and knows what it says."""
        box = self.boxes.get(sender)
        if box is not None:
            box.drop({(False, raw) for raw in talk} | {(True, raw) for raw in notes})
            box.until = min(box.until, now + DELAY_S)


def pack(talk: list[bytes], notes: list[bytes]) -> bytes:
    """A parcel's body."""
    return canonical.packb([VERSION, zlib.compress(canonical.packb([talk, notes]), SQUEEZE)])


def unpack(body: Buffer) -> tuple[list[bytes], list[bytes]]:
    """Talk and notes, unparsed. Raises Reject."""
    outer = canonical.unpackb(body, PARCEL_BYTES_MAX)
    if not isinstance(outer, list) or not outer:
        raise Reject("malformed", "a parcel begins with its version")
    fields.version(outer[0], "parcel", VERSION)
    squeezed = fields.blob(fields.array(outer, "parcel", 2)[1], "parcel", PARCEL_BYTES_MAX)
    talk, notes = fields.array(canonical.unpackb(_expand(squeezed), PARCEL_BYTES_MAX), "parcel", 2)
    return (
        [fields.blob(raw, "talk", MESSAGE_BYTES_MAX) for raw in fields.items(talk, "talk", PARCEL_ITEMS_MAX)],
        [fields.blob(raw, "note", CHECKPOINT_BYTES_MAX) for raw in fields.items(notes, "notes", PARCEL_ITEMS_MAX)],
    )


def _expand(squeezed: bytes) -> bytes:
    """At most `PARCEL_BYTES_MAX`, whatever it claims to hold. Raises Reject."""
    machine = zlib.decompressobj()
    try:
        raw = machine.decompress(squeezed, PARCEL_BYTES_MAX)
    except zlib.error as error:
        raise Reject("malformed", f"parcel: {error}") from None
    if not machine.eof or machine.unused_data:
        raise Reject("malformed", f"parcel: expected one zlib stream of at most {PARCEL_BYTES_MAX} bytes")
    return raw
