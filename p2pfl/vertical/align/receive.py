"""The receiving half of a party: are these the chunks that were promised? Knows windows and sizes; keeps no result."""

from collections.abc import Iterator, Sequence

from p2pfl.vertical.align.actions import Blamed
from p2pfl.vertical.align.bounds import ALIGN_CHUNK_ROWS, ALIGN_WINDOW
from p2pfl.vertical.align.messages import PLACE_BYTES, POINT_BYTES, Matches, Points
from p2pfl.vertical.align.streams import Inflow
from p2pfl.vertical.align.terms import Stream, Terms, chunks_of, length_of


class Receiver:
    """`flows` has an entry for every stream that ends at `me`."""

    def __init__(self, terms: Terms, me: int) -> None:
        self._terms = terms
        self.streams = tuple(s for s in terms.streams if s.receiver == me)
        self.flows: dict[int, Inflow[bytes]] = {s.number: Inflow() for s in self.streams}
        self.total: int | None = None

    def have(self, sender: int) -> tuple[int, ...]:
        """What a Standing to `sender` says."""
        return tuple(self.flows[s.number].have for s in self.streams if s.sender == sender)

    def take(self, sender: int, message: Points | Matches) -> bool:
        """Is the chunk new? Then it waits for `begin`. Raises Blamed if it is out of place."""
        flow = self.flows.get(message.stream)
        stream = self._terms.streams[message.stream] if flow is not None else None
        is_answer = isinstance(message, Matches)
        if flow is None or stream is None or stream.sender != sender or (stream.route < 0) != is_answer:
            raise self._blame(sender, "psi-stream", f"sent chunks of stream {message.stream}, which is not its to send")
        if not flow.is_new(message.chunk):
            return False
        if not flow.fits(message.chunk):
            last = flow.have + ALIGN_WINDOW - 1
            raise self._blame(sender, "psi-window", f"expected a chunk up to {last}, got chunk {message.chunk}")
        if isinstance(message, Matches):
            self._check_total(stream, message)
        flow.raw[message.chunk] = message.blob
        return True

    def begin(self, counts: Sequence[int]) -> Iterator[tuple[Stream, int, bytes]]:
        """The chunks that wait, their sizes checked against what was declared. Raises Blamed."""
        for stream in self.streams:
            for chunk, blob in self.flows[stream.number].begin():
                self._check_size(stream, chunk, blob, counts)
                yield stream, chunk, blob

    def is_whole(self, stream: Stream, counts: Sequence[int]) -> bool:
        """Is all of a stream held?"""
        have = self.flows[stream.number].have
        if stream.route >= 0:
            return have == chunks_of(counts[stream.owner])
        return self.total is not None and have == chunks_of(self.total, ALIGN_CHUNK_ROWS)

    def _check_total(self, stream: Stream, message: Matches) -> None:
        self.total = message.total if self.total is None else self.total
        if message.total != self.total:
            detail = f"announced {self.total:,} common rows, then {message.total:,}"
            raise self._blame(stream.sender, "psi-count", detail)

    def _check_size(self, stream: Stream, chunk: int, blob: bytes, counts: Sequence[int]) -> None:
        if stream.route < 0:
            assert self.total is not None
            declared, size, unit, what = self.total, ALIGN_CHUNK_ROWS, PLACE_BYTES, "common rows"
            if declared > min(counts):
                detail = f"announced {declared:,} common rows of sets of which one has {min(counts):,}"
                raise self._blame(stream.sender, "psi-count", detail)
            chunks = chunks_of(declared, size)
            expected = length_of(chunk, declared, size)
        else:
            declared, unit, what = counts[stream.owner], POINT_BYTES, "ids"
            chunks, expected = chunks_of(declared), length_of(chunk, declared)
        got = len(blob) // unit
        if chunk >= chunks or got != expected:
            owner = "" if stream.owner == stream.sender else f" of {self._terms.parties[stream.owner]}"
            size_expected = max(0, expected) if chunk < chunks else 0
            detail = f"declared {declared:,} {what}{owner}: expected {size_expected} in chunk {chunk}, got {got}"
            raise self._blame(stream.sender, "psi-count", detail)

    def _blame(self, party: int, code: str, detail: str) -> Blamed:
        return Blamed(party, self._terms.parties[party], code, detail)
