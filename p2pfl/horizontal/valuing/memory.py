"""What a node must not forget of valuing, as records of its store. Knows records; knows no window's meaning, no draw.

Space "valuing"; a key is a letter for the kind, the window (u64), for "shown" its author (32), and a piece (u16):

| kind | value, canonical msgpack but for "x" | for |
|---|---|---|
| `x` | the node's model when the window began, float32 little-endian | judging; audits |
| `w` | [2, opening, salt, sections, coded update] | revealing; audits |
| `m` | [2, key, damp, said, sections, reference's exponents, values, model, head] , its message | an audit |
| `s` | [2, message, body]: work that was shown here | judging; audits |
| `h` | [2, scores' message]: what was committed to | revealing scores |
| `j` | [2, log positions of the commits by subject, findings] of a window that was judged here | audits |
| `n` | [2, bytes shown, bytes said] | the share of bytes |

`m` and `h` go when they cannot be asked for any more; the rest stays for `keep` windows, so that scores can be
computed again later (`p2pfl ledger audit-scores`). Law: what `Memory` gives back after a restart is what was put.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import BODY_BYTES_MAX, MIB
from p2pfl.core.noise import Key
from p2pfl.core.party import Put, Restored
from p2pfl.errors import BrokenChain, Reject
from p2pfl.horizontal.model.work import GossipWork, decode_sections
from p2pfl.horizontal.valuing.shown import Shown, Work
from p2pfl.ledger.feeds.entry import parse
from p2pfl.ledger.feeds.kinds import ScoreReveal, freeze
from p2pfl.ledger.feeds.records import ENTRY
from p2pfl.mixing.reference import Reference
from p2pfl.valuation import Opening
from p2pfl.wire import canonical
from p2pfl.wire.messages import sections_from, sections_to

SPACE = "valuing"
FORMAT = 2
PIECE_BYTES = 64 * MIB
RECORD_BYTES_MAX = 4 * BODY_BYTES_MAX
SHORT_LIVED = b"mh"
"""Kinds that nobody can ask for once their window is scored."""

VALUING = frozenset({"update.commit", "draw.salt", "score.commit", "score.reveal"})
ENTRIES_READ = 512

Row = tuple[NodeId, int, int]
"""[subject, position of its commit in the log, finding]."""


class Record(NamedTuple):
    """One value, whole. author: of "shown" only."""

    kind: bytes
    window: int
    raw: bytes
    author: bytes = b""


@dataclass(eq=False)
class Recalled:
    """What the store held, by window."""

    works: dict[int, Work] = field(default_factory=dict)
    models: dict[int, Tensor] = field(default_factory=dict)
    shown: dict[tuple[int, NodeId], tuple[Shown, bytes]] = field(default_factory=dict)
    hidden: dict[int, ScoreReveal] = field(default_factory=dict)
    judged: dict[int, tuple[Row, ...]] = field(default_factory=dict)
    spent: tuple[int, int] = (0, 0)


class Memory:
    """Which keys of the space are in the store, so that they can be removed."""

    def __init__(self) -> None:
        self._keys: dict[tuple[bytes, int], list[bytes]] = {}

    def put(self, *records: Record) -> tuple[Put, ...]:
        """The durable writes of these."""
        puts: list[Put] = []
        for record in records:
            known = self._keys.setdefault((record.kind, record.window), [])
            for number, at in enumerate(range(0, max(len(record.raw), 1), PIECE_BYTES)):
                key = _key(record) + number.to_bytes(2, "big")
                puts.append(Put(SPACE, key, record.raw[at : at + PIECE_BYTES]))
                if key not in known:
                    known.append(key)
        return tuple(puts)

    def forget(self, done: int, kept: int) -> tuple[Put, ...]:
        """Remove what only windows up to `done` needed, and everything of windows up to `kept`."""
        old = [place for place in self._keys if place[1] <= (done if place[0] in SHORT_LIVED else kept)]
        return tuple(Put(SPACE, key, None) for place in old if place[0] != b"n" for key in self._keys.pop(place))

    def recall(self, restored: Restored, work: GossipWork | None) -> Recalled:
        """What was put before. Without `work` no update is decoded: `q` of one's own work is empty then.

        Raises BrokenChain if the records are not what this program writes.
        """
        found = Recalled()
        try:
            for record, keys in _whole(restored.get(SPACE, {})):
                self._keys.setdefault((record.kind, record.window), []).extend(keys)
                _take(record, found)
            wires = {r.window: r.raw for r, _ in _whole(restored.get(SPACE, {})) if r.kind == b"m"}
            for record, _ in _whole(restored.get(SPACE, {})):
                if record.kind == b"w":
                    found.works[record.window] = _work(record.raw, wires.get(record.window), work)
        except (Reject, ValueError, KeyError, IndexError, TypeError) as error:
            raise BrokenChain(f"what the node keeps of valuing cannot be read ({error})") from error
        return found


def lately(restored: Restored, me: NodeId) -> frozenset[tuple[str, Any]]:
    """Of the newest entries of one's own feed: kind, and what the payload begins with."""
    keys = [key for key in restored.get(ENTRY, {}) if key[:32] == me][-ENTRIES_READ:]
    entries = [parse(restored[ENTRY][key]) for key in keys]
    return frozenset((entry.kind, entry.payload[0]) for entry in entries if entry.kind in VALUING and entry.payload)


# ------------------------------------------------------------------------------------------------ records


def model_record(window: int, x: Tensor) -> Record:
    return Record(b"x", window, _floats(x))


def work_records(window: int, work: Work) -> tuple[Record, ...]:
    """Without the second one, of work that no message stands for."""
    opened = [FORMAT, work.opening.to_fields(), work.salt, sections_to(work.sections), work.update]
    said = [work.key, float(work.damp), work.said, sections_to(work.said_sections)]
    reference = [list(work.reference.exponents), work.reference.values.cpu().numpy().astype("<i4").tobytes()]
    record = Record(b"w", window, canonical.packb(opened))
    if not work.head:
        return (record,)
    wire = [FORMAT, *said, *reference, _floats(work.x), work.head]
    return record, Record(b"m", window, canonical.packb(wire))


def shown_record(shown: Shown, author: NodeId, body: bytes) -> Record:
    return Record(b"s", shown.window, canonical.packb([FORMAT, shown.to_fields(), body]), author)


def hidden_record(said: ScoreReveal) -> Record:
    return Record(b"h", said.window, canonical.packb([FORMAT, list(said)]))


def judged_record(window: int, rows: tuple[Row, ...]) -> Record:
    return Record(b"j", window, canonical.packb([FORMAT, [list(row) for row in rows]]))


def spent_record(shown_bytes: int, said_bytes: int) -> Record:
    return Record(b"n", 0, canonical.packb([FORMAT, shown_bytes, said_bytes]))


# ------------------------------------------------------------------------------------------------ coming back


def _key(record: Record) -> bytes:
    return record.kind + record.window.to_bytes(8, "big") + record.author


def _whole(space: Mapping[bytes, bytes]) -> Iterator[tuple[Record, list[bytes]]]:
    """The records, their pieces joined, and the keys of these."""
    pieces: dict[bytes, list[bytes]] = {}
    for key in sorted(space):
        pieces.setdefault(key[:-2], []).append(key)
    for place, keys in pieces.items():
        raw = b"".join(space[key] for key in keys)
        yield Record(place[:1], int.from_bytes(place[1:9], "big"), raw, place[9:]), keys


def _take(record: Record, found: Recalled) -> None:
    if record.kind == b"x":
        found.models[record.window] = _tensor(record.raw, "<f4")
    elif record.kind not in (b"w", b"m"):
        values = _fields(record.raw)
        match record.kind:
            case b"s":
                shown, body = Shown.from_fields(values[0]), values[1]
                found.shown[shown.window, NodeId(record.author)] = (shown, body)
            case b"h":
                found.hidden[record.window] = ScoreReveal(*freeze(values[0]))  # type: ignore[misc]
            case b"j":
                found.judged[record.window] = tuple((NodeId(node), order, said) for node, order, said in values[0])
            case b"n":
                found.spent = (values[0], values[1])
            case _:
                raise ValueError(f"an unknown record {record.kind!r}")


def _work(raw: bytes, wire: bytes | None, work: GossipWork | None) -> Work:
    opening, salt, coded, update = _fields(raw)
    sections = sections_from(coded)
    q = torch.empty(0) if work is None else decode_sections(work.codec, sections, update, work.schema)
    fields = (Opening.from_fields(opening), salt, sections, update, q)
    if wire is None:
        nothing = Reference(torch.empty(0, dtype=torch.int32), ())
        return Work(*fields, Key(bytes(32)), 1.0, b"", (), torch.empty(0), nothing, b"")
    key, damp, said, said_sections, exponents, values, x, head = _fields(wire)
    reference = Reference(_tensor(values, "<i4"), tuple(exponents))
    return Work(*fields, Key(key), damp, said, sections_from(said_sections), _tensor(x, "<f4"), reference, head)


def _fields(raw: bytes) -> list[Any]:
    values = canonical.unpackb(raw, RECORD_BYTES_MAX)
    if not isinstance(values, list) or values[:1] != [FORMAT]:
        raise ValueError(f"expected a record of format {FORMAT}")
    return values[1:]


def _floats(x: Tensor) -> bytes:
    return x.detach().cpu().float().contiguous().numpy().astype("<f4", copy=False).tobytes()


def _tensor(raw: bytes, kind: str) -> Tensor:
    return torch.from_numpy(np.frombuffer(raw, kind).astype(kind[1:], copy=True))
