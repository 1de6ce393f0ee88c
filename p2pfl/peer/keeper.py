"""One node's ledger inside its Peer: entries and parcels in, records and parcels out. Knows no socket, key file, model.

The Peer hands over what it appended to its own feed, the parcels of its neighbours and the ledger's timers. What comes
back is for the Peer to perform: one Persist with all that the handle writes, so that a store holds a whole height or
none of it, then timers, then parcels to be sealed. A parcel that waited for an earlier one to arrive leaves behind an
empty Persist, since what it says was perhaps written by an earlier handle: nothing is said that is not durable.

Restored from a store: the last height (tip), votes, feeds and forks. Served to others from memory: see shelf.py.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Buffer, Emit, Persist, Put, Restored, SetTimer, TimerFired
from p2pfl.errors import BrokenChain, ConfigError, LedgerError, Reject
from p2pfl.ledger.blocks.genesis import Genesis, meaning, parse_genesis
from p2pfl.ledger.feeds import records
from p2pfl.ledger.feeds.bounds import FINALS_KEPT
from p2pfl.ledger.feeds.ends import Question, is_end, parse_end
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.entry import parse as parse_entry
from p2pfl.ledger.finality import book as books
from p2pfl.ledger.finality import journal
from p2pfl.ledger.finality.book import Book
from p2pfl.ledger.finality.effects import Final, LedgerEffect, ReadEntries, ReadFinals, Refused, Tell
from p2pfl.ledger.finality.events import Timing
from p2pfl.ledger.finality.forge import Forge, Terms
from p2pfl.ledger.finality.replica import ENTRIES_KEPT, TICK_TIMER, Begin, Heard, Replica, ReplicaEvent, Wrote
from p2pfl.ledger.finality.talk import Ballots, Digest, Entries, Proposal, Status, Talk, parse
from p2pfl.ledger.finality.tip import GENESIS, STATE, TIP, base_of, first_puts, restore_tip
from p2pfl.ledger.outcome.contract import Accounts
from p2pfl.ledger.outcome.members import validators_of
from p2pfl.ledger.outcome.state import State
from p2pfl.ledger.outcome.tasks import is_early
from p2pfl.peer.herald import Herald, Saying
from p2pfl.peer.outbox import DELAY_S, Outbox, unpack
from p2pfl.peer.parting import LOOK_S, Parting
from p2pfl.peer.recovery import RECOVER, Recovery
from p2pfl.peer.relay import Relay
from p2pfl.peer.request import Request
from p2pfl.peer.shelf import Shelf
from p2pfl.peer.witness import Witness, text_of
from p2pfl.wire.envelope import Signs

FINAL = journal.FINAL
SPACES = (records.ENTRY, records.BRANCH, books.FORK, *journal.SPACES, GENESIS, STATE, TIP, RECOVER)
"""What a node with a ledger loads of it at its start."""

LAZY = (Entries, Digest)
ENTRY_COPIES, VOTE_COPIES = 1, 2
"""How often a node two steps from an author gets what that one signed."""
LAZY_S_MAX = 1.0
"""Entries, digests and checkpoints wait for so long for something urgent to go with, or for half an interval."""

PARTING_TIMER = "parting"
OUTBOX_TIMER = "outbox"
RECOVERY_TIMER = "recovery"


@dataclass(frozen=True, slots=True)
class Bell:
    """The key of a timer of the ledger: so that a job's timers never meet it."""

    key: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A parcel's body for one neighbour, to be sealed and sent once; it failed if there is no answer in this time."""

    to: NodeId
    body: bytes
    within_s: float


@dataclass(frozen=True, slots=True)
class Leave:
    """The ledger needs this node no longer: the Peer may stop."""


@dataclass(frozen=True, slots=True)
class Write:
    """The ledger wants this entry in the node's own feed. Comes only while the node may write."""

    kind: str
    payload: list[Any]


@dataclass(frozen=True, slots=True)
class Finalized:
    """A height is final; durable with the Persist of this list. For a job that follows the ledger."""

    height: int
    state: State
    entries: tuple[Entry, ...]


KeeperEffect = Persist | SetTimer | Emit | Letter | Leave | Write | Finalized


@dataclass(frozen=True, slots=True)
class Charter:
    """What a node must know to keep the ledger. `members`: all who learn here; the last entries of all are waited for.

    `wall_ms_at_zero`: milliseconds since 1970 at the moment that `now` counts from. `around`: whom each neighbour hears
    directly; what those sign need not be relayed to it. `forge`: what makes blocks here.
    """

    genesis: Genesis
    members: tuple[NodeId, ...]
    timing: Timing | None = None
    wall_ms_at_zero: int = 0
    around: Mapping[NodeId, Collection[NodeId]] = field(default_factory=dict)
    forge: Callable[[Terms, Book], Forge] = Forge


class Keeper:
    """See the module's head. `start` comes first, once."""

    def __init__(self, charter: Charter, signer: Signs, neighbours: Sequence[NodeId]) -> None:
        self.charter, self.genesis, self.signer = charter, charter.genesis, signer
        self.accounts = Accounts(self.genesis)
        self.tip = restore_tip(self.genesis.digest, self.accounts.first_state(), {})
        self.timing = charter.timing or Timing()
        self.outbox = Outbox(neighbours, min(max(DELAY_S, self.timing.interval_s / 2), LAZY_S_MAX))
        self.relay = Relay(signer.node, neighbours, charter.around)
        self.witness = Witness(signer, self.genesis.digest)
        self.shelf = Shelf()
        self.parting = Parting(charter.members)
        self.recovery = Recovery(signer, self.genesis.digest, neighbours)
        self.herald = Herald(signer, self.genesis.digest, lambda: (self.replica.book, self.tip.state))
        self.refusals: Counter[str] = Counter()
        self.replica: Replica
        self._said_height = -1
        self._due = inf

    def meet(self, neighbours: Sequence[NodeId]) -> None:
        """From now on these are the neighbours: the ledger's words go to them, and come from them."""
        known = tuple(sorted(neighbours))
        if known == tuple(sorted(self.outbox.boxes)):
            return
        self.outbox.meet(known)
        self.relay.meet(known, self.charter.around)
        self.recovery.neighbours = frozenset(known)
        self.replica.neighbours = known

    # ------------------------------------------------------------------------------------------ in

    def start(self, restored: Restored, now: float, entropy: bytes = bytes(32)) -> list[KeeperEffect]:
        """Go on where the store ends; `may_write` says when. Raises LedgerError if it is another network's, damaged, or
        holds a proof against this node."""
        puts = self._check_genesis(restored)
        self.recovery.begin(restored, entropy)
        self.tip = restore_tip(self.genesis.digest, self.accounts.first_state(), restored)
        base = base_of(self.tip, self.accounts.rules_hash(self.tip.state)) if self.tip.height else None
        terms = Terms(self.genesis.digest, self.genesis.epoch, self.accounts)
        charter, neighbours = self.charter, tuple(self.outbox.boxes)
        wall_ms, forge = charter.wall_ms_at_zero, charter.forge
        self.replica = Replica(terms, self.signer, neighbours, base, self.timing, wall_ms_at_zero=wall_ms, forge=forge)
        self.replica.book.restore(restored)
        self.shelf.restore(restored)
        self._await_models(restored)
        if base is not None:
            self.replica.book.trim(base.heads, ENTRIES_KEPT)
        feed = (self.signer.node, self.recovery.incarnation)
        if (end := self.replica.book.tip(feed)) is not None:
            self.recovery.wrote(self.replica.book.stretch(feed, -1, end.seq))
        if self.recovery.silent:  # what this key has voted since the backup is lost
            self.replica.finality.silent = True
        recent = dict(sorted(restored.get(FINAL, {}).items())[-FINALS_KEPT:])
        first = self._step(Begin({**restored, FINAL: recent}), now, puts)
        return [*first, *self._ask(now)] if self.recovery.asks else first

    @property
    def may_write(self) -> bool:
        """Whether this node's own feed may grow: see recovery.py."""
        return self.recovery.may_write

    def is_early(self, request: Request) -> bool:
        """Whether what somebody asks for would be said too early: a bid is opened when all are sealed."""
        return request.kind == "bid.reveal" and is_early(self.tip.state, bytes(request.payload[0]))  # type: ignore[arg-type]

    def wrote(self, entries: Sequence[Entry], now: float) -> list[KeeperEffect]:
        """The Peer appended these to its own feed, and persists them in this handle."""
        self.shelf.take(records.put_entry(entry) for entry in entries)
        self.recovery.wrote(entries)
        return self._step(Wrote(tuple(entries)), now)

    def heard(self, sender: NodeId, body: Buffer, now: float) -> list[KeeperEffect]:
        """A neighbour's parcel. Raises Reject if it is none; what is wrong inside is counted."""
        talk, notes = unpack(bytes(body))
        self.outbox.heard(sender, talk, notes, now)
        found: list[KeeperEffect] = []
        puts: list[Put] = []
        for raw in talk:
            if is_end(raw):
                found += self._end(sender, raw, now)
                continue
            try:
                message = parse(raw)
            except Reject as reject:
                found += self._refused(reject.code, reject.detail)
                continue
            if isinstance(message, Status):
                self.parting.heard(sender, message.final_height)
            found += self._do(self.replica.handle(Heard(sender, message), now), now, puts)
        for note in notes:
            found += self._note(sender, note, now, puts)
        return self._finish(found, puts, now)

    def fired(self, key: str, now: float) -> list[KeeperEffect]:
        """A Bell rang."""
        if key == PARTING_TIMER:
            self._said_height = -1  # say it again: it may have been lost
        if key == OUTBOX_TIMER:
            self._due = inf
        if key == RECOVERY_TIMER:
            self.recovery.look(self.replica.book, self.tip.state, late=self.recovery.has_checked)
            return self._finish(self._ask(now) if self.recovery.asks else [], [], now)
        if key in (PARTING_TIMER, TICK_TIMER):
            self._say_note(self.witness.unfinished(), now)
        if key in (PARTING_TIMER, OUTBOX_TIMER):
            return self._finish([], [], now)
        return self._step(TimerFired(key), now)

    def delivered(self, to: NodeId, now: float) -> list[KeeperEffect]:
        self.outbox.delivered(to, now)
        return self._finish([], [], now)

    def failed(self, to: NodeId, now: float) -> list[KeeperEffect]:
        self.outbox.failed(to, now)
        return self._finish([], [], now)

    def leave(self, now: float) -> list[KeeperEffect]:
        """The job is done; a Leave follows, at once or later."""
        self.parting.begin(now)
        self.outbox.lazy_s = DELAY_S  # the others wait for it
        return self._finish([], [], now)

    def status(self) -> dict[str, Any]:
        """Of the ledger, for `GET /v1/status`."""
        finality = self.replica.finality
        return {
            **finality.summary(),
            "network": self.genesis.digest.hex(),
            "head": (self.tip.head or self.tip.net).hex(),
            "meaning": meaning(finality.poll.voters),
            "refused": dict(self.refusals),
            "recovering": self._recovering(),
        }

    def _recovering(self) -> str:
        """In words, why this node does not write or vote yet; empty if it does."""
        recovery = self.recovery
        if recovery.wants_words:
            counts = f"{recovery.acknowledged} of {recovery.needed} needed"
            return f"{counts} validators have acknowledged where the feed ended: writes and votes nothing before"
        if not recovery.may_write:
            return "asks its neighbours where its feed ends before it writes"
        return "votes again when its resume entry is final" if recovery.silent else ""

    # ------------------------------------------------------------------------------------------ inside

    def _check_genesis(self, restored: Restored) -> list[Put]:
        """What to write if the store has no ledger yet. Raises LedgerError if it has another network's."""
        text = restored.get(GENESIS, {}).get(b"")
        if text is None:
            return first_puts(self.genesis.to_toml(), self.accounts.first_state())
        try:
            kept = parse_genesis(text.decode("utf-8", "replace"), "the genesis in the store")
        except ConfigError as error:
            raise BrokenChain(str(error)) from None
        if kept.digest != self.genesis.digest:
            raise LedgerError(
                f"the folder holds the ledger of network {kept.digest.hex()[:8]}, and the genesis here is of "
                f"{self.genesis.digest.hex()[:8]}: choose another folder, or that network's genesis"
            )
        return []

    def _await_models(self, restored: Restored) -> None:
        """Whose model is final already: entries up to the final heads."""
        state = self.tip.state
        for key, raw in restored.get(records.ENTRY, {}).items():
            final = state.get("feed", NodeId(key[:32]), int.from_bytes(key[32:36], "big"))
            if final is not None and int.from_bytes(key[36:], "big") < int(final[0]):  # type: ignore[arg-type]
                self._note_model(records.entry_at(key, raw))

    def _note_model(self, entry: Entry) -> None:
        if entry.kind == "model":
            self.parting.awaited.discard(entry.author)

    def _step(self, event: ReplicaEvent, now: float, first: Iterable[Put] = ()) -> list[KeeperEffect]:
        puts = list(first)
        return self._finish(self._do(self.replica.handle(event, now), now, puts), puts, now)

    def _do(self, effects: list[LedgerEffect], now: float, puts: list[Put]) -> list[KeeperEffect]:
        """Each effect of the ledger: what is written goes into `puts`, what is said into the outbox."""
        found: list[KeeperEffect] = []
        for effect in effects:
            match effect:
                case Persist():
                    self.recovery.check(effect.puts)
                    puts += effect.puts
                    self.shelf.take(effect.puts)
                    if any(put.space == records.ENTRY for put in effect.puts):
                        self.parting.news(now)
                case Final():
                    puts += self._final(effect, now)
                    found.append(self._said_final(effect))
                    found.append(Finalized(effect.block.header.height, self.tip.state, effect.entries))
                case Tell() if effect.relayed:
                    self._relay(effect, now)
                case Tell():
                    lazy = isinstance(effect.message, LAZY)
                    self.outbox.put(effect.message.raw, now, effect.to, effect.but, lazy=lazy)
                case SetTimer():
                    found.append(SetTimer(Bell(str(effect.key)), effect.at))
                case ReadFinals():
                    self._tell(self.shelf.finals(effect.height), effect.to, now)
                case ReadEntries():
                    self._tell(self.shelf.entries(effect.head, effect.after), effect.to, now)
                case Refused():
                    found += self._refused(effect.code, effect.detail)
                case Emit():
                    found.append(effect)
        return found

    def _relay(self, effect: Tell, now: float) -> None:
        """Somebody else's words, for those who should get them from here."""
        message = effect.message
        self.relay.without(self.outbox.away())
        if isinstance(message, Entries):
            for author, raws in _by_author(message).items():
                for to in self.relay.targets((author,), effect.but, ENTRY_COPIES):
                    self.outbox.put(Entries(raws).raw, now, to, lazy=True)
            return
        for to in self.relay.targets(_authors(message), effect.but, VOTE_COPIES):
            self.outbox.put(message.raw, now, to)

    def _say_note(self, note: bytes | None, now: float, but: NodeId | None = None) -> None:
        """Of one checkpoint only the note with most signatures waits."""
        if note is not None:
            self.outbox.put(note, now, None, but, is_note=True, lazy=True, about=text_of(note))

    def _final(self, effect: Final, now: float) -> list[Put]:
        header, voters = effect.block.header, frozenset(validators_of(self.tip.state))
        self.tip, puts = self.tip.record(header, effect.entries, effect.execution.state)
        put, note = self.witness.final(header.height, self.tip.checkpoint(), voters, header.time_ms)
        self._say_note(note, now)
        for entry in effect.entries:
            self._note_model(entry)
        self.parting.final(now)
        if self.recovery.final(self.tip.state):
            self.replica.finality.silent = False
            puts.append(Put(RECOVER, b"", None))
        return [*puts, put]

    def _said_final(self, effect: Final) -> Emit:
        header = effect.block.header
        return Emit("ledger.final", {"height": header.height, "block": header.hash.hex(), "log": self.tip.log.size})

    def _note(self, sender: NodeId, note: bytes, now: float, puts: list[Put]) -> list[KeeperEffect]:
        try:
            put, onward = self.witness.told(note)
        except Reject as reject:
            return self._refused(reject.code, reject.detail)
        if put is not None:
            puts.append(put)
            self.parting.news(now)
        self._say_note(onward, now, sender)
        return []

    def _end(self, sender: NodeId, raw: bytes, now: float) -> list[KeeperEffect]:
        """A question where a feed ends, or an answer to one."""
        try:
            message = parse_end(raw, self.genesis.digest)
        except Reject as reject:
            return self._refused(reject.code, reject.detail)
        said: list[Saying] = []
        if isinstance(message, Question):
            said = self.herald.asked(sender, message, now)
        elif message.author != self.signer.node:
            said = self.herald.heard(sender, message)
        elif self.recovery.told(sender, message, self.replica.book, self.tip.state):
            said = [Saying(self.replica.sync.vector().raw, sender, None)]
        for saying in said:
            self.outbox.put(saying.raw, now, saying.to, saying.but)
        return []

    def _ask(self, now: float) -> list[KeeperEffect]:
        """Where one's own feed ends: see recovery.py."""
        self.outbox.put(self.recovery.question().raw, now, None)
        return [SetTimer(Bell(RECOVERY_TIMER), now + self.recovery.pause_s)]

    def _recover(self) -> list[KeeperEffect]:
        """What the last news mean for a node that is coming back."""
        recovery, book, state = self.recovery, self.replica.book, self.tip.state
        if recovery.may_write and not recovery.wants_words:
            return []
        before = recovery.acknowledged
        recovery.look(book, state)
        found: list[KeeperEffect] = []
        if recovery.wants_words and recovery.acknowledged != before:
            fields = {"acknowledged": recovery.acknowledged, "needed": recovery.needed}
            found.append(Emit("ledger.recovering", fields))
        resumption = recovery.resumption(book, state)
        if resumption is not None:
            found += [Emit("ledger.resumed", {"incarnation": recovery.incarnation}), Write("resume", resumption)]
        return found

    def _refused(self, code: str, detail: str) -> list[KeeperEffect]:
        self.refusals[code] += 1
        return [Emit("ledger.blamed", {"code": code, "detail": detail})]

    def _tell(self, messages: Iterable[Any], to: NodeId, now: float) -> None:
        for message in messages:
            self.outbox.put(message.raw, now, to)

    def _finish(self, found: list[KeeperEffect], puts: list[Put], now: float) -> list[KeeperEffect]:
        """One commit, then what others see of it."""
        found += self._recover()
        last = self._part(now) if self.parting.begun_at is not None else []
        letters: list[KeeperEffect] = [
            Letter(to, body, self.outbox.patience_s(to, len(body))) for to, body in self.outbox.next_parcels(now)
        ]
        first: list[KeeperEffect] = [Persist(tuple(puts))] if puts or letters else []
        due = self.outbox.due()
        if due < self._due:
            self._due = due
            found.append(SetTimer(Bell(OUTBOX_TIMER), due))
        return [*first, *found, *letters, *last]

    # ------------------------------------------------------------------------------------------ leaving

    def _part(self, now: float) -> list[KeeperEffect]:
        """Whether to leave now; else look again soon."""
        finality = self.replica.finality
        self.parting.at(finality.poll.epoch, finality.view, now)
        if self.parting.in_vain(now, finality.patience_s):
            return [self._left(now), Leave()]
        height = self.tip.height
        if self.parting.all_final() and self._said_height < height:
            self._said_height = height
            self.outbox.put(finality.status().raw, now, None)
        there = self._neighbours_there()
        level = self.parting.level(there, height) and all(self.outbox.boxes[peer].idle for peer in there)
        signed = self.witness.last is None or self.witness.last.enough
        if self.parting.all_final() and level and signed and not finality.busy:
            return [self._left(now), Leave()]
        return [SetTimer(Bell(PARTING_TIMER), now + LOOK_S)]

    def _neighbours_there(self) -> Collection[NodeId]:
        left, height = self.parting.left, self.tip.height
        return [peer for peer, box in self.outbox.boxes.items() if not left(peer, box.failures, height)]

    def _left(self, now: float) -> Emit:
        waited = now - (self.parting.begun_at or now)
        fields = {"height": self.tip.height, "waited_s": waited, "all_final": self.parting.all_final()}
        return Emit("ledger.left", fields)


def _authors(message: Talk) -> tuple[NodeId, ...]:
    """Who signed what is in it; nobody for what has no one author."""
    match message:
        case Ballots():
            return tuple({vote.author: None for vote in message.votes})
        case Proposal():
            return (message.vote.author,)
    return ()


def _by_author(message: Entries) -> dict[NodeId, tuple[bytes, ...]]:
    found: dict[NodeId, tuple[bytes, ...]] = {}
    for raw in message.entries:
        author = parse_entry(raw).author
        found[author] = (*found.get(author, ()), raw)
    return found
