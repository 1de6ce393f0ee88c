"""One party's part in finding common ids unseen: messages in, actions out. Knows routes and turns; no socket or clock.

Theory of operation
-------------------
Every party shuffles its ids once, hashes them to a curve, raises the points to its secret power and sends them on their
`Route`. Every other party on it raises them too and keeps their order. All sets end at party 0, the label holder: what
all have raised is equal exactly where ids are, so it sees which places of each shuffled order are in common, and tells
each owner its places, in one order for all. See `crypto/psi.py` for sources.

    start()                  -> my Standing to all                    (also after a restart, from `kept`)
    Standing from all        -> Blind my chunks; send them as windows allow
    Points                   -> Raise                   -> keep, acknowledge, send on (or, at the end, keep as tags)
    all tags (party 0)       -> Match                   -> Matches to all others; `done`
    all Matches (the others) -> keep the rows, acknowledge; `done`

A host performs the actions in order: a `Keep` is durable before any later `Say`; each `Do` comes back as `computed`.
Messages may be lost, doubled or overtaken; `remind()` repairs that. `Blamed` ends the alignment for all.
Secure against parties that follow the protocol and compare notes afterwards; a party that invents ids learns whether
they are common, so sizes are declared first and held to. What each learns by design: docs/vertical_alignment.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2pfl.core.noise import derive
from p2pfl.crypto.psi import TAG_BYTES, Tags, tags_of
from p2pfl.errors import ConfigError
from p2pfl.vertical.align import memory
from p2pfl.vertical.align.actions import Action, Blamed, Do, Keep, Say
from p2pfl.vertical.align.messages import SESSION_BYTES, Matches, Message, Points, Standing
from p2pfl.vertical.align.own import ENTROPY_BYTES, OwnSet
from p2pfl.vertical.align.receive import Receiver
from p2pfl.vertical.align.send import Sender, read_places
from p2pfl.vertical.align.terms import Stream, Terms
from p2pfl.vertical.align.work import Blind, Match, Places, Raise, Refusal, Result, Task

__all__ = ["Action", "Aligner", "Alignment", "Blamed", "Do", "Keep", "Matches", "Message", "Points", "Say", "Standing"]


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """`rows` (m,): which of my rows are common, in the order common to all parties."""

    rows: NDArray[np.int64]


class Aligner:
    """Party `me` of `terms.parties`. `items` as from `ids.normalise`, in the order of the rows; `entropy` is 32 secret
    bytes; `kept` what an earlier life of this party kept. ConfigError if that was about other ids or terms."""

    def __init__(
        self, terms: Terms, me: int, items: Sequence[bytes], entropy: bytes, kept: Mapping[bytes, bytes] | None = None
    ) -> None:
        if not 0 <= me < len(terms.parties):
            raise ValueError(f"expected a party 0 to {len(terms.parties) - 1}, got {me}")
        if len(entropy) != ENTROPY_BYTES:
            raise ValueError(f"expected {ENTROPY_BYTES} bytes of entropy, got {len(entropy)}")
        if not items:
            raise ConfigError(f"alignment: {terms.parties[me]} has no ids")
        kept = kept or {}
        session = memory.session_of(kept, terms, items)
        entropy = kept.get(memory.SECRET, entropy)
        self.terms, self.me = terms, me
        self.done: Alignment | None = None
        self.num_raised = 0
        self._session = session or bytes(derive(entropy, "psi-session"))[:SESSION_BYTES]
        self._own = OwnSet(terms, items, entropy)
        self._sender, self._receiver = Sender(terms, me, self._own), Receiver(terms, me)
        self._standings: dict[int, Standing] = {}
        self._held: dict[int, list[bytes]] = {s.number: [] for s in self._receiver.streams if self._ends_here(s)}
        self._matching = False
        self._actions: list[Action] = []
        if session is None:
            self._actions += memory.begin(terms, items, self._session, entropy)
        self._restore(kept)

    # ------------------------------------------------------------------------------------------- what a host calls

    def start(self) -> list[Action]:
        """Tell all where I stand and ask the same. The first call, in every life."""
        return self.remind()

    def remind(self) -> list[Action]:
        """The same again, for a host that has heard nothing for a while: whatever got lost is then sent again."""
        for party in self._others():
            self._say_standing(party, ask=True)
        return self._flush()

    def receive(self, sender: int, message: Message) -> list[Action]:
        """Raises Blamed. What was seen before changes nothing."""
        if sender not in self._others():
            raise ValueError(f"expected another party of the alignment, got {sender}")
        if isinstance(message, Standing):
            self._on_standing(sender, message)
        elif not self._receiver.take(sender, message) and not message.chunk:
            self._say_standing(sender, ask=False)  # an acknowledgement may have got lost
        return self._go_on()

    def computed(self, task: Task, result: Result) -> list[Action]:
        """A task's result. Raises Blamed if a peer's points were wrong."""
        match task, result:
            case Blind(chunk), bytes():
                self._sender.blinded(chunk, result)
                self.num_raised += len(task.items)
            case Raise(number), Refusal(code, detail):
                raise self._blame(self.terms.streams[number].sender, code, detail)
            case Raise(number, chunk, blob, scalar), bytes():
                self.num_raised += len(blob) // 32 if scalar else 0
                self._hold(self.terms.streams[number], chunk, result)
            case Match(), Refusal(code, detail, route):
                raise self._blame_route(route, code, detail)
            case Match(), dict():
                self._on_matched(result)
        return self._go_on()

    @property
    def finished(self) -> bool:
        """I have my rows, and as label holder know that the others have theirs."""
        return self.done is not None and (self.me != 0 or not self._matching or self._sender.all_answered)

    @property
    def counts(self) -> tuple[int, ...] | None:
        """The declared sizes of all sets, padding included; None until all have declared."""
        if len(self._standings) < len(self.terms.parties) - 1:
            return None
        parties = range(len(self.terms.parties))
        return tuple(self._own.count if p == self.me else self._standings[p].count for p in parties)

    @property
    def work(self) -> tuple[int, int]:
        """Points raised by me in this life, and what an undisturbed life raises (0 until known)."""
        counts = self.counts
        if counts is None:
            return self.num_raised, 0
        theirs = (counts[s.owner] for s in self._receiver.streams if s.route >= 0 and s.owner != self.me)
        return self.num_raised, self._own.count + sum(theirs)

    @property
    def waits_for(self) -> tuple[int, ...]:
        """The parties whose words I need to go on; none while it is my turn."""
        counts = self.counts
        if counts is None:
            return tuple(p for p in self._others() if p not in self._standings)
        if self.done is not None:
            return () if self.finished else tuple(self._sender.unanswered)
        return tuple(sorted({s.sender for s in self._receiver.streams if not self._receiver.is_whole(s, counts)}))

    # --------------------------------------------------------------------------------------------------- receiving

    def _on_standing(self, sender: int, standing: Standing) -> None:
        self._check_standing(sender, standing)
        self._standings.setdefault(sender, standing)
        self._actions += self._sender.heard(sender, standing.have, standing.ask)
        if standing.ask:
            self._say_standing(sender, ask=False)
        if (counts := self.counts) is not None:
            self._sender.open(counts)

    def _check_standing(self, sender: int, standing: Standing) -> None:
        terms, first = self.terms, self._standings.get(sender, standing)
        if standing.terms != terms.digest:
            raise self._blame(sender, "psi-terms", "aligns by other terms (job, parties, salt, mode, rules or bounds)")
        if standing.session != first.session:
            raise self._blame(sender, "psi-session", "began anew and has lost what it knew")
        if standing.count != first.count or not 0 < standing.count <= terms.ids_max or standing.count % terms.bucket:
            rule = f"at most {terms.ids_max:,} ids in buckets of {terms.bucket:,}, always as many"
            raise self._blame(sender, "psi-count", f"expected {rule}, got {standing.count:,}")
        streams = sum(s.sender == self.me and s.receiver == sender for s in terms.streams)
        if len(standing.have) != streams:
            raise self._blame(sender, "psi-have", f"expected {streams} counts, got {len(standing.have)}")

    def _go_on(self) -> list[Action]:
        """Whatever can be done now."""
        if (counts := self.counts) is not None:
            for stream, chunk, blob in self._receiver.begin(counts):
                if stream.route < 0:
                    self._hold(stream, chunk, blob)
                else:
                    scalar = None if stream.owner == self.me else self._own.scalar
                    self._actions.append(Do(Raise(stream.number, chunk, blob, scalar)))
            self._actions += self._sender.pump()
            self._match(counts)
        return self._flush()

    def _hold(self, stream: Stream, chunk: int, blob: bytes) -> None:
        """A chunk is worked on: kept, acknowledged, and sent on or put aside for the end."""
        for held, value in self._receiver.flows[stream.number].finish(chunk, blob):
            if stream.route >= 0 and self._ends_here(stream):
                value = tags_of(value).tobytes()
            self._put_aside(stream, held, value)
            self._actions += memory.hold(stream.number, held, value)
        if stream.route < 0:
            self._read_answer(stream)
        self._say_standing(stream.sender, ask=False)

    def _put_aside(self, stream: Stream, chunk: int, value: bytes) -> None:
        if self._ends_here(stream):
            self._held[stream.number].append(value)
        else:
            self._sender.pass_on(stream, chunk, value)

    # -------------------------------------------------------------------------------------------------- the result

    def _match(self, counts: Sequence[int]) -> None:
        """The label holder has all tags: find the common ones."""
        routes = [s for s in self._receiver.streams if s.route >= 0]
        whole = all(self._receiver.is_whole(s, counts) for s in routes)
        if self.me != 0 or self._matching or self.done is not None or not whole:
            return
        self._matching = True
        tags = {s.route: _tags(self._held[s.number]) for s in routes}
        size = len(routes) if self.terms.mode == "ring" else 2
        groups = tuple(tuple(range(at, at + size)) for at in range(0, len(routes), size))
        self._actions.append(Do(Match(groups, tuple(tuple(tags[route] for route in group) for group in groups))))

    def _on_matched(self, places: Places) -> None:
        own = next(found for route, found in places.items() if self.terms.routes[route].owner == 0)
        rows = self._own.rows(own)
        assert rows is not None  # nobody else has my padding, and doubled tags were refused
        self.done = Alignment(rows)
        self._sender.answer(places)

    def _read_answer(self, stream: Stream) -> None:
        counts, total = self.counts, self._receiver.total
        assert counts is not None
        assert total is not None
        self._actions.append(memory.announce(total))
        if not self._receiver.is_whole(stream, counts):
            return
        rows = self._own.rows(read_places(self._held[stream.number]))
        if rows is None:
            raise self._blame(0, "psi-places", "named common rows that are not distinct rows of mine")
        self._finish(rows)

    def _finish(self, rows: NDArray[np.int64]) -> None:
        self.done = Alignment(rows)
        self._actions += memory.finish(rows, [(n, c) for n, held in self._held.items() for c in range(len(held))])
        self._held = {number: [] for number in self._held}

    # ------------------------------------------------------------------------------------------------------- small

    def _restore(self, kept: Mapping[bytes, bytes]) -> None:
        rows = memory.rows_of(kept)
        self.done = None if rows is None else Alignment(rows)
        self._receiver.total = memory.total_of(kept)
        for stream in self._receiver.streams:
            have = memory.have_of(kept, stream.number)
            self._receiver.flows[stream.number].have = have
            for chunk in range(have if rows is None else 0):
                if (value := memory.chunk_of(kept, stream.number, chunk)) is not None:
                    self._put_aside(stream, chunk, value)

    def _flush(self) -> list[Action]:
        if self.me == 0 and self.done is not None and self._matching and self._sender.all_answered and self._held:
            self._finish(self.done.rows)
            self._held = {}
        actions, self._actions = self._actions, []
        return actions

    def _ends_here(self, stream: Stream) -> bool:
        return stream.route < 0 or stream.hop == len(self.terms.routes[stream.route].path) - 1

    def _others(self) -> list[int]:
        return [p for p in range(len(self.terms.parties)) if p != self.me]

    def _say_standing(self, to: int, ask: bool) -> None:
        have = self._receiver.have(to)
        self._actions.append(Say(to, Standing(self.terms.digest, self._session, self._own.count, have, ask)))

    def _blame(self, party: int, code: str, detail: str) -> Blamed:
        return Blamed(party, self.terms.parties[party], code, detail)

    def _blame_route(self, route: int, code: str, detail: str) -> Blamed:
        """The set's owner, or, if that is me, who sent it home."""
        owner, path = self.terms.routes[route].owner, self.terms.routes[route].path
        return self._blame(path[-2] if owner == self.me else owner, code, detail)


def _tags(blobs: Sequence[bytes]) -> Tags:
    return np.frombuffer(b"".join(blobs), np.uint64).reshape(-1, TAG_BYTES // 8)
