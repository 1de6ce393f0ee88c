"""The sending half of a party: which chunks go out next, and what they hold. Knows windows; judges nobody.

Sources of chunks: own ids, blinded when their turn comes; what others sent and I have raised; the label holder's
answers. Each is forgotten when every receiver holds it.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from p2pfl.vertical.align import memory
from p2pfl.vertical.align.actions import Action, Do, Keep, Say
from p2pfl.vertical.align.bounds import ALIGN_CHUNK_ROWS, ALIGN_WINDOW
from p2pfl.vertical.align.messages import PLACE_BYTES, Matches, Message, Points
from p2pfl.vertical.align.own import OwnSet
from p2pfl.vertical.align.streams import Outflow
from p2pfl.vertical.align.terms import Stream, Terms, chunks_of
from p2pfl.vertical.align.work import Places

ANSWER_BYTES = ALIGN_CHUNK_ROWS * PLACE_BYTES


class Sender:
    """`flows` has an entry for every stream that leaves `me`."""

    def __init__(self, terms: Terms, me: int, own: OwnSet) -> None:
        self._terms, self._own = terms, own
        self._streams = tuple(s for s in terms.streams if s.sender == me)
        self.flows = {s.number: Outflow() for s in self._streams}
        self._blinded: dict[int, bytes] = {}
        self._blinding: set[int] = set()
        self._passing: dict[tuple[int, int], bytes] = {}
        self._answers: dict[int, bytes] = {}

    def open(self, counts: Sequence[int]) -> None:
        """All have declared: chunks may leave."""
        for s in self._streams:
            if s.route >= 0:
                self.flows[s.number].chunks = chunks_of(counts[s.owner])

    def blinded(self, chunk: int, blob: bytes) -> None:
        self._blinding.discard(chunk)
        self._blinded[chunk] = blob

    def pass_on(self, arrived_on: Stream, chunk: int, blob: bytes) -> None:
        """A raised chunk, for the next hop of its route. Streams of one route are numbered in a row."""
        if chunk >= self.flows[arrived_on.number + 1].acked:
            self._passing[arrived_on.number + 1, chunk] = blob

    def answer(self, places: Places) -> None:
        """The label holder knows the common places: `places` by route."""
        by_owner = {self._terms.routes[route].owner: found for route, found in places.items()}
        for s in self._streams:
            if s.route < 0:
                self._answers[s.number] = by_owner[s.receiver].astype(f">u{PLACE_BYTES}").tobytes()
                self.flows[s.number].chunks = chunks_of(len(by_owner[s.receiver]), ALIGN_CHUNK_ROWS)

    @property
    def all_answered(self) -> bool:
        """Do all others hold their rows?"""
        return all(self.flows[s.number].is_done for s in self._streams if s.route < 0)

    @property
    def unanswered(self) -> Iterable[int]:
        return (s.receiver for s in self._streams if s.route < 0 and not self.flows[s.number].is_done)

    def heard(self, to: int, have: Sequence[int], again: bool) -> list[Keep]:
        """`to` holds so many chunks of each stream from me to it; `again`: what I sent beyond may be lost."""
        for s, count in zip((s for s in self._streams if s.receiver == to), have, strict=True):
            self.flows[s.number].heard(count, again)
        passed = [at for at in self._passing if at[1] < self.flows[at[0]].acked]
        for at in passed:
            del self._passing[at]
        everywhere = min((self.flows[s.number].acked for s in self._own_streams()), default=0)
        for chunk in [c for c in self._blinded if c < everywhere]:
            del self._blinded[chunk]
        return [memory.forget(number - 1, chunk) for number, chunk in passed]

    def pump(self) -> list[Action]:
        """All that may leave now, and the blinding of own chunks that may leave soon."""
        actions: list[Action] = []
        for s in self._streams:
            flow = self.flows[s.number]
            while flow.may_send and (message := self._load(s, flow.next)) is not None:
                actions.append(Say(s.receiver, message))
                flow.next += 1
        for s in self._own_streams():
            flow = self.flows[s.number]
            for chunk in range(flow.next, min(flow.chunks, flow.acked + ALIGN_WINDOW)):
                if chunk not in self._blinded and chunk not in self._blinding:
                    self._blinding.add(chunk)
                    actions.append(Do(self._own.blind(chunk)))
        return actions

    def restore(self, kept: Mapping[bytes, bytes], arrived_on: Stream, have: int) -> None:
        """Chunks of a stream that were raised in an earlier life and may not have been passed on."""
        for chunk in range(have):
            if (blob := memory.chunk_of(kept, arrived_on.number, chunk)) is not None:
                self.pass_on(arrived_on, chunk, blob)

    def _own_streams(self) -> Iterable[Stream]:
        return (s for s in self._streams if s.route >= 0 and s.hop == 0)

    def _load(self, s: Stream, chunk: int) -> Message | None:
        if s.route < 0:
            blob = self._answers[s.number]
            part = blob[chunk * ANSWER_BYTES :][:ANSWER_BYTES]
            return Matches(s.number, chunk, len(blob) // PLACE_BYTES, part)
        found = self._blinded.get(chunk) if s.hop == 0 else self._passing.get((s.number, chunk))
        return None if found is None else Points(s.number, chunk, found)


def read_places(blobs: Iterable[bytes]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """The places that the label holder's answers name."""
    return np.frombuffer(b"".join(blobs), f">u{PLACE_BYTES}").astype(np.int64)
