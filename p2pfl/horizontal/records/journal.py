"""What a gossip node writes down, and how it comes back from it. Knows records; no disk, no message flow.

Two spaces of the node's store:

- "snapshot": the whole state at the end of a window (model, optimiser, drift correction, references, positions);
- "journal": what was said, applied and begun since, in order, keyed by a running number.

A restarted node takes the snapshot and repeats the journal on it: the vectors said and heard give the same model
movement and bit-identical references. Local steps since the snapshot are lost and done again. The feed's rows of an
unfinished window come back from the journal too, so no receipt is forgotten.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import BODY_BYTES_MAX, MIB
from p2pfl.core.party import Put, Restored
from p2pfl.errors import BrokenChain, Reject
from p2pfl.horizontal.model.local import MET_MAX, Local
from p2pfl.horizontal.model.work import Applied, Apply, GossipWork, body_digest, decode_sections
from p2pfl.horizontal.records.edge import Edge, Saying, said_of
from p2pfl.horizontal.terms.averages import Averages, Stated
from p2pfl.learn.optim import OptState
from p2pfl.ledger.feeds.kinds import ACCEPTED, Receipt, Reveal
from p2pfl.ledger.feeds.records import put_receipt
from p2pfl.ledger.feeds.tally import Tally, Total
from p2pfl.mixing.pairwise import PairState
from p2pfl.mixing.reference import Reference, from_vector
from p2pfl.wire import canonical
from p2pfl.wire.envelope import Head, chunk_digests
from p2pfl.wire.messages import Snapshot, Update

SNAPSHOT = "snapshot"
JOURNAL = "journal"
FORMAT = 1
PIECE_BYTES = 64 * MIB
_RECORD_BYTES_MAX = 2 * BODY_BYTES_MAX


@dataclass(eq=False)
class Journal:
    """The records of one run, and the feed rows of its present window."""

    codec_name: str
    number: int = 0  # of the next journal record
    first: int = 0  # oldest record still stored
    reveals: list[Reveal] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    # ------------------------------------------------------------------------------------------ records

    def said(self, edge: Edge) -> Put:
        """My half at the edge's position: it must be durable before it leaves."""
        saying = edge.pending
        assert saying is not None
        return self._record(["said", edge.peer, saying.message.to_fields(), saying.body, edge.work_said])

    def done(self, edge: Edge, update: Update, body: bytes) -> Put:
        """The other half at the edge's position, applied."""
        return self._record(["done", edge.peer, update.to_fields(), body])

    def epoch(self, edge: Edge, message: Snapshot, body: bytes, adopted: bool) -> Put:
        """A new epoch began with this snapshot; `adopted`: it became my model too."""
        return self._record(["epoch", edge.peer, message.to_fields(), body, adopted])

    def _record(self, values: list[Any]) -> Put:
        self.number += 1
        return Put(JOURNAL, (self.number - 1).to_bytes(8, "big"), canonical.packb(values))

    # ------------------------------------------------------------------------------------------ feed rows

    def reveal(self, edge: Edge) -> None:
        """What I said is known to the other end: a row of the window's "delta.reveal"."""
        saying = edge.pending
        assert saying is not None
        row = Reveal(edge.peer, edge.epoch, edge.seq, saying.digest, len(saying.body), self.codec_name)
        self.reveals.append(row)

    def received(self, peer: NodeId, epoch: int, seq: int, digest: bytes, size_bytes: int) -> None:
        """What I accepted: a row of the window's "receipts"."""
        self.tally, row = self.tally.add(peer, epoch, seq, digest, size_bytes, ACCEPTED)
        self.receipts.append(row)

    def receipt(self, edge: Edge, update: Update, head: Head, size_bytes: int) -> Put:
        """Count the other half, and keep its signed head: it proves what the other end received from me."""
        self.received(edge.peer, edge.epoch, edge.seq, body_digest(head.chunks), size_bytes)
        return put_receipt(edge.peer, update.epoch, update.seq, head.raw)

    def close_window(self) -> tuple[list[Reveal], list[Receipt]]:
        """The rows of the window that ends; the next begins empty."""
        rows = self.reveals, self.receipts
        self.reveals, self.receipts = [], []
        return rows

    # ------------------------------------------------------------------------------------------ snapshot

    def packer(self, local: Local, edges: Mapping[NodeId, Edge]) -> Callable[[], tuple[Put, ...]]:
        """What to run, off the event loop, to turn the present state into puts. The state is captured now."""
        pair = local.pair
        vectors: dict[str, Tensor] = {"x": local.x, **{f"opt/{name}": slot for name, slot in local.opt.slots.items()}}
        scalars: list[Any] = []
        vectors |= {f"rule/{name}": value.reshape(-1) for name, value in local.rows.items()}
        if pair is not None:
            vectors["z"] = pair.z
            scalars = [float(pair.u_bar), float(pair.damp), float(pair.rel), float(local.met)]
        totals = [[peer, *total] for peer, total in sorted(self.tally.totals.items())]
        rows = [[*map(list, self.reveals)], [*map(list, self.receipts)]]
        meta = [
            *(FORMAT, local.steps, local.opt.steps, float(local.work), float(local.work_mark)),
            *(
                [*local.averages.stated(), local.averages.own_score],
                float(local.since_any),
                float(local.since_own),
                local.samples,
                scalars,
                self.number,
                totals,
                rows,
            ),
        ]
        states = []
        for peer, edge in sorted(edges.items()):
            states.append(_edge_out(edge))
            vectors[f"edge/{peer.hex()}"] = edge.reference.values
            if edge.drift is not None:
                vectors[f"drift/{peer.hex()}"] = edge.drift
        if local.loan is not None:
            vectors["loan"] = local.loan
        meta.append([[name, vector.numel()] for name, vector in vectors.items()])
        old = range(self.first, self.number)

        def pack() -> tuple[Put, ...]:
            puts = [Put(SNAPSHOT, b"meta", canonical.packb(meta)), Put(SNAPSHOT, b"edges", canonical.packb(states))]
            for name, vector in vectors.items():
                puts.extend(_vector_out(name, vector))
            puts.extend(Put(JOURNAL, number.to_bytes(8, "big"), None) for number in old)
            return tuple(puts)

        return pack

    def forget(self, number: int) -> None:
        """A snapshot that covers all records before `number` is about to be durable, and with it their removal."""
        self.first = number


# ------------------------------------------------------------------------------------------------ coming back


@dataclass(frozen=True, eq=False)
class Comeback:
    """A node's state as it was told to the world."""

    local: Local
    edges: dict[NodeId, Edge]
    journal: Journal


def comeback(restored: Restored, fresh: Comeback, work: GossipWork) -> Comeback:
    """The state in `restored`; `fresh` (changed and returned) is where a node without a snapshot begins.

    Raises BrokenChain if the records are not what this program writes.
    """
    try:
        if restored.get(SNAPSHOT):
            _load_snapshot(restored[SNAPSHOT], fresh)
        _revive(fresh.edges, work)
        for key, raw in sorted(restored.get(JOURNAL, {}).items()):
            number = int.from_bytes(key, "big")
            if number < fresh.journal.number:
                continue
            _repeat(canonical.unpackb(raw, _RECORD_BYTES_MAX), fresh, work)
            fresh.journal.number = number + 1
    except (Reject, ValueError, KeyError, IndexError, TypeError) as error:
        raise BrokenChain(f"the node's journal cannot be read ({error}); start it with an empty folder") from error
    return fresh


def _load_snapshot(space: Mapping[bytes, bytes], into: Comeback) -> None:
    local, journal = into.local, into.journal
    meta = canonical.unpackb(space[b"meta"], BODY_BYTES_MAX)
    if meta[0] != FORMAT:
        raise ValueError(f"expected format {FORMAT}, got {meta[0]}")
    _, local.steps, opt_steps, local.work, local.work_mark = meta[:5]
    (progress, samples, score, stop_at, own_score), local.since_any, local.since_own, local.samples = meta[5:9]
    local.averages = Averages(progress, samples, score, own_score, stop_at)
    local.advance(0.0)
    scalars, journal.number, totals, rows, sizes = meta[9:]
    vectors = {name: _vector_in(space, name, size) for name, size in sizes}
    _check_size("x", vectors["x"], local.x)
    dtype = local.x.dtype
    local.x = vectors["x"].to(dtype)
    slots = {n.removeprefix("opt/"): v for n, v in vectors.items() if n.startswith("opt/")}
    local.opt = OptState(opt_steps, slots)
    if local.pair is not None:
        u_bar, damp, rel = (torch.tensor(value, dtype=torch.float64) for value in scalars[:3])
        local.met = int(scalars[3]) if len(scalars) > 3 else MET_MAX
        _check_size("z", vectors["z"], local.x)
        local.pair = PairState(vectors["z"].to(dtype), u_bar, damp, rel)
        local.loan = vectors["loan"].to(dtype) if "loan" in vectors else None
    local.rows = {name: _rule_in(name, vectors[f"rule/{name}"], like) for name, like in local.rows.items()}
    journal.first = journal.number
    journal.tally = Tally({peer: Total(count, size) for peer, count, size in totals})
    journal.reveals = [Reveal(*row) for row in rows[0]]
    journal.receipts = [Receipt(*row) for row in rows[1]]
    for state in canonical.unpackb(space[b"edges"], BODY_BYTES_MAX):
        edge = into.edges.get(NodeId(state[0]))
        if edge is not None:  # a neighbour that the topology has lost is forgotten
            values = vectors[f"edge/{edge.peer.hex()}"]
            _check_size("a reference", values, local.x)
            _edge_in(edge, state, values)
            edge.drift = vectors.get(f"drift/{edge.peer.hex()}")


def _repeat(record: list[Any], state: Comeback, work: GossipWork) -> None:
    edge = state.edges.get(NodeId(record[1]))
    if edge is None:
        return
    match record:
        case ["said", _, fields, body, work_said]:
            message = Update.from_fields(fields)
            q = decode_sections(work.codec, message.sections, body, work.schema)
            edge.pending = Saying(message, body, chunk_digests((body,)), said_of(message, q))
            edge.requested, edge.work_said = True, work_said
        case ["done", _, fields, body]:
            _repeat_exchange(edge, Update.from_fields(fields), body, state, work)
        case ["epoch", _, fields, body, adopted]:
            message_ = Snapshot.from_fields(fields if len(fields) == 6 else [*fields, False])  # as it was before
            if message_.epoch <= edge.epoch:
                raise ValueError(f"expected an epoch after {edge.epoch}, got {message_.epoch}")
            q = decode_sections(work.snapshot_codec, message_.sections, body, work.schema)
            reference = from_vector(q, message_.exponents, work.schema)
            edge.renew(message_.epoch, reference, reference.digest(), None, message_.fresh)
            if message_.fresh:
                take_off(edge, state.local)
            if adopted:
                state.local.x = q.to(state.local.x.dtype)
        case _:
            raise ValueError(f"an unknown record {record[0]!r}")


def _repeat_exchange(edge: Edge, update: Update, body: bytes, state: Comeback, work: GossipWork) -> None:
    mine, local = edge.pending, state.local
    if mine is None or local.pair is None:
        raise ValueError("an exchange without a saying")
    other = said_of(update, torch.empty(0))
    task = Apply(edge, local.x, local.pair, edge.reference, mine.said, other, update.sections, body, None, edge.warmth)
    applied: Applied = work.apply(task)
    chunks = chunk_digests((body,))
    state.journal.received(edge.peer, edge.epoch, edge.seq, body_digest(chunks), len(body))
    state.journal.reveal(edge)
    edge.step(applied.reference, applied.digest, body_digest(chunks))
    edge.distance, edge.norm = float(applied.mixed.distance), mine.message.norm
    add_drift(edge, local.pair, applied.mixed.state)
    local.move(applied.mixed.move, applied.mixed.state, edge.work_said, 0.0)
    local.settle(local.averages.met(Stated(*mine.message.averages), Stated(*update.averages), local.rounds))


def add_drift(edge: Edge, before: PairState, after: PairState) -> None:
    """An exchange has moved the drift correction."""
    moved = after.z - before.z
    edge.drift = moved if edge.drift is None else edge.drift + moved


def take_off(edge: Edge, local: Local) -> None:
    """What its exchanges have added to the drift correction is no more."""
    if edge.drift is not None:
        local.undo_drift(edge.drift)
        edge.drift = None


# ------------------------------------------------------------------------------------------------ bytes


def _edge_out(edge: Edge) -> list[Any]:
    sayings = [[s.message.to_fields(), s.body] if s is not None else [] for s in (edge.pending, edge.last)]
    return [
        *(edge.peer, edge.epoch, edge.seq, list(edge.reference.exponents), edge.requested, *sayings),
        *(edge.last_heard, _optional_out(edge.distance), _optional_out(edge.norm), float(edge.work_said)),
        *(edge.exchanges, edge.fresh, edge.cut),
    ]


def _optional_out(length: float | None) -> float:
    return -1.0 if length is None else float(length)


def _edge_in(edge: Edge, state: list[Any], values: Tensor) -> None:
    _, edge.epoch, edge.seq, exponents, edge.requested, pending, last, edge.last_heard = state[:8]
    distance, norm, edge.work_said, edge.exchanges = state[8:12]
    edge.fresh, edge.cut = state[12:] or (False, False)
    edge.distance, edge.norm = (length if length >= 0 else None for length in (distance, norm))
    edge.reference = Reference(values, tuple(exponents))
    edge.digest = edge.reference.digest()
    edge.pending = _saying_in(pending)
    edge.last = _saying_in(last)
    edge.answered = edge.seq == 0  # perhaps it was; an exchange more tells


def _saying_in(state: list[Any]) -> Saying | None:
    """A saying whose q is decoded only when it is needed again (`_revive`)."""
    if not state:
        return None
    message = Update.from_fields(state[0])
    return Saying(message, state[1], chunk_digests((state[1],)), said_of(message, torch.empty(0)))


def _revive(edges: Mapping[NodeId, Edge], work: GossipWork) -> None:
    """Decode what was said but not yet answered, so that it can be mixed."""
    for edge in edges.values():
        saying = edge.pending
        if saying is not None and saying.said.q.numel() == 0:
            q = decode_sections(work.codec, saying.message.sections, saying.body, work.schema)
            edge.pending = Saying(saying.message, saying.body, saying.chunks, said_of(saying.message, q))


_DTYPES = {"f": torch.float32, "d": torch.float64, "i": torch.int32}


def _vector_out(name: str, vector: Tensor) -> Iterator[Put]:
    """The raw little-endian values, in pieces: key = name, dtype letter, number of the piece."""
    array = vector.detach().cpu().numpy()
    letter = array.dtype.char if array.dtype.char in _DTYPES else "f"
    raw = np.ascontiguousarray(array.astype(f"<{letter}", copy=False)).data.cast("B")
    for index, at in enumerate(range(0, max(len(raw), 1), PIECE_BYTES)):
        yield Put(SNAPSHOT, f"v/{name}|{letter}|{index:04}".encode(), bytes(raw[at : at + PIECE_BYTES]))


def _rule_in(name: str, value: Tensor, like: Tensor) -> Tensor:
    """One entry of a neighbourhood rule's state; `like` is what the rule begins with."""
    _check_size(name, value, like)
    return value.to(like.dtype).reshape(like.shape)


def _check_size(name: str, vector: Tensor, like: Tensor) -> None:
    if vector.numel() != like.numel():
        raise ValueError(f"{name}: expected {like.numel()} values, got {vector.numel()}")


def _vector_in(space: Mapping[bytes, bytes], name: str, size: int) -> Tensor:
    keys = sorted(key for key in space if key.startswith(f"v/{name}|".encode()))
    letter = keys[0].decode().split("|")[1]
    raw = bytearray(b"".join(space[key] for key in keys))
    vector = torch.frombuffer(raw, dtype=_DTYPES[letter]) if raw else torch.empty(0, dtype=_DTYPES[letter])
    if vector.numel() != size:
        raise ValueError(f"{name}: expected {size} values, got {vector.numel()}")
    return vector
