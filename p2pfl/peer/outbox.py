"""What waits to be said to each neighbour about the ledger. Pure; knows bytes and neighbours, no meaning.

A piece waits a moment for others, and one parcel to a neighbour is under way at a time: the slower a neighbour, the
fewer and larger its parcels. What the neighbour says itself meanwhile need not be said to it any more. Nothing is
repeated here: what is lost comes again with the ledger's own ticks. A neighbour that does not answer is left alone for
a while, longer each time, until it is heard again.

    body of a parcel = canonical msgpack [1, [talk, ..], [note, ..]]

`talk` are messages of ledger/talk.py, `note` checkpoints (ledger/checkpoint.py). Layout: docs/formats/parcel.md.
"""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import KIB, MIB
from p2pfl.core.party import Buffer
from p2pfl.ledger import fields
from p2pfl.ledger.bounds import MESSAGE_BYTES_MAX
from p2pfl.ledger.checkpoint import CHECKPOINT_BYTES_MAX
from p2pfl.wire import canonical

VERSION = 1
PARCEL_BYTES_MAX = MESSAGE_BYTES_MAX + 64 * KIB
PARCEL_BYTES = MIB
"""A parcel is closed when it holds so much: one message may be longer."""
PARCEL_ITEMS_MAX = 256
WAITING_MAX = 1024
"""Pieces that wait for one neighbour; the oldest are dropped."""
WAITING_BYTES_MAX = 2 * MESSAGE_BYTES_MAX
DELAY_S = 0.05
"""From a piece to the parcel that it goes with."""
PAUSE_S, PAUSE_S_MAX = 0.25, 8.0


@dataclass(eq=False)
class Box:
    """Of one neighbour. Pieces are (is it a note, bytes); nothing leaves before `until`."""

    waiting: deque[tuple[bool, bytes]] = field(default_factory=deque)
    waiting_bytes: int = 0
    under_way: bool = False
    failures: int = 0
    until: float = 0.0

    @property
    def idle(self) -> bool:
        """Everything was delivered."""
        return not self.under_way and not self.waiting


class Outbox:
    """`put`, then `next_parcels`; every parcel ends with `delivered` or `failed`."""

    def __init__(self, neighbours: Iterable[NodeId]) -> None:
        self.boxes = {to: Box() for to in neighbours}

    def put(self, raw: bytes, now: float, to: NodeId | None, but: NodeId | None = None, is_note: bool = False) -> None:
        """For one neighbour, or (None) for all but one. What is for a stranger is dropped."""
        for name in (to,) if to is not None else self.boxes:
            box = self.boxes.get(name)
            if box is None or name == but or (is_note, raw) in box.waiting:
                continue
            if not box.waiting:
                box.until = max(box.until, now + DELAY_S)
            box.waiting.append((is_note, raw))
            box.waiting_bytes += len(raw)
            while len(box.waiting) > WAITING_MAX or box.waiting_bytes > WAITING_BYTES_MAX:
                box.waiting_bytes -= len(box.waiting.popleft()[1])

    def next_parcels(self, now: float) -> list[tuple[NodeId, bytes]]:
        """What is to be sent now: at most one parcel for each neighbour."""
        found = []
        for to, box in self.boxes.items():
            if box.waiting and not box.under_way and now >= box.until:
                box.under_way = True
                found.append((to, _close(box)))
        return found

    def due(self) -> float | None:
        """When the next parcel is to leave; None if that is not a matter of time."""
        return min((box.until for box in self.boxes.values() if box.waiting and not box.under_way), default=None)

    def delivered(self, to: NodeId) -> None:
        box = self.boxes[to]
        box.under_way, box.failures = False, 0

    def failed(self, to: NodeId, now: float) -> None:
        """It did not arrive, or was refused. If it is not the first, what waits is stale by the time it is back."""
        box = self.boxes[to]
        box.under_way = False
        if box.failures:
            box.waiting_bytes = 0
            box.waiting.clear()
        box.until = now + min(PAUSE_S * 2**box.failures, PAUSE_S_MAX)
        box.failures = min(box.failures + 1, 16)

    def heard(self, sender: NodeId, talk: Collection[bytes], notes: Collection[bytes], now: float) -> None:
        """The neighbour is there, and knows what it says."""
        box = self.boxes.get(sender)
        if box is None:
            return
        said = {(False, raw) for raw in talk} | {(True, raw) for raw in notes}
        box.waiting = deque(piece for piece in box.waiting if piece not in said)
        box.waiting_bytes = sum(len(raw) for _, raw in box.waiting)
        box.until = min(box.until, now + DELAY_S)


def _close(box: Box) -> bytes:
    pieces: tuple[list[bytes], list[bytes]] = ([], [])
    size, count = 0, 0
    while box.waiting and count < PARCEL_ITEMS_MAX and (not count or size + len(box.waiting[0][1]) <= PARCEL_BYTES):
        is_note, raw = box.waiting.popleft()
        pieces[is_note].append(raw)
        size, count = size + len(raw), count + 1
    box.waiting_bytes -= size
    return pack(*pieces)


def pack(talk: list[bytes], notes: list[bytes]) -> bytes:
    """A parcel's body."""
    return canonical.packb([VERSION, talk, notes])


def unpack(body: Buffer) -> tuple[list[bytes], list[bytes]]:
    """Talk and notes, unparsed. Raises Reject."""
    version, talk, notes = fields.array(canonical.unpackb(body, PARCEL_BYTES_MAX), "parcel", 3)
    fields.version(version, "parcel", VERSION)
    return (
        [fields.blob(raw, "talk", MESSAGE_BYTES_MAX) for raw in fields.items(talk, "talk", PARCEL_ITEMS_MAX)],
        [fields.blob(raw, "note", CHECKPOINT_BYTES_MAX) for raw in fields.items(notes, "notes", PARCEL_ITEMS_MAX)],
    )
