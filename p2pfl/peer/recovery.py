"""How a node that was here before begins again: it asks where its feed ended before it writes. Pure; knows one feed.

Theory of operation
-------------------
A node whose disk is older than what the world has heard from it would sign second entries at positions that others
have seen. So it asks first, and meanwhile it writes nothing and its job waits.

| in the store at the start | asks | may write | then |
|---|---|---|---|
| no entry of its own | its neighbours | at once | opens its feed |
| entries of its own | its neighbours | all said "no more than you", or after `CHECK_S` | goes on in its feed |
| "recover" as well | all, every `ASK_S` | f + 1 validators acknowledged the end that is here | opens a new one |
| the same, and the new one is there | as in the second row | as in the second row | goes on in it |

A node that is new here does not wait: its first entry is the same whenever it is written, and its neighbours answer
long before the second one. Whoever is shown a signed entry of its own that it does not have, in the feed that it writes
or in a later one, stops with a line that names `p2pfl ledger recover`: going on would be a fork. A claim without the
entry stops nobody.

With "recover" the votes since the backup are lost too. The node casts none until its "resume" is final, in view v say,
and then only in later views. That is safe: had its old self voted in a view w > v, a quorum would have left view v in
its old self's time, and could not have made final in v an entry that was written after it. A "resume" that is final in
vain (the validators have changed meanwhile) is written again.
"""

from collections.abc import Iterable
from hashlib import sha256

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Put, Restored
from p2pfl.errors import LedgerError
from p2pfl.ledger.feeds.ends import NONCE_BYTES, Answer, Question, ask
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.records import ENTRY, ENTRY_KEY_BYTES
from p2pfl.ledger.feeds.statements import is_acknowledged
from p2pfl.ledger.finality import book as books
from p2pfl.ledger.finality.book import Book
from p2pfl.ledger.outcome.members import acknowledgements_needed, validators_of
from p2pfl.ledger.outcome.state import State
from p2pfl.wire.envelope import Signs

RECOVER = "recover"
"""One record: the incarnation that `p2pfl ledger recover` ended (u64). Removed when "resume" is final."""

ASK_S = 1.0
CHECK_S, CHECKS = 2.0, 3
"""How long neighbours have to answer, and how often they are asked meanwhile: what is said once may be lost."""
NONCES_KEPT = 4
"""Answers to the last few questions count."""

Place = tuple[int, int, bytes]


class Recovery:
    """Of one node. `begin`; then `told` for each answer and `look` after each, until `may_write`."""

    def __init__(self, signer: Signs, net: bytes, neighbours: Iterable[NodeId]) -> None:
        self.signer, self.net, self.me = signer, net, signer.node
        self.neighbours = frozenset(neighbours)
        self.incarnation = 0
        """The feed that this node writes, or will."""
        self.may_write = True
        self.silent = False
        """Votes were lost, and "resume" is not final."""
        self.acknowledged, self.needed = 0, 0
        self._unopened = False
        """The incarnation is a new one, and nothing of it is written."""
        self._resume_seq: int | None = None
        """Where the last "resume" is, unless it was in vain."""
        self._agree: set[NodeId] = set()
        self._compared: set[NodeId] = set()  # neighbours that were sent what is here since the last question
        self._words: dict[Place, dict[NodeId, bytes]] = {}
        self._nonces: list[bytes] = []
        self._entropy = b""

    @property
    def wants_words(self) -> bool:
        """Whether acknowledgements are needed for a "resume" that is still to be written."""
        return self.silent and self._resume_seq is None

    @property
    def asks(self) -> bool:
        """Whether there is a next question, `pause_s` after the last."""
        return bool(self.neighbours) and (not self.may_write or self.wants_words or not self.has_checked)

    @property
    def has_checked(self) -> bool:
        """Whether neighbours were asked often enough: whoever has not answered is away."""
        return len(self._nonces) >= CHECKS

    @property
    def pause_s(self) -> float:
        return ASK_S if self.wants_words else CHECK_S / CHECKS

    def begin(self, restored: Restored, entropy: bytes) -> None:
        """What the store says. Raises LedgerError if it holds a proof against this node."""
        self._entropy = entropy
        own = [key for key in restored.get(ENTRY, {}) if len(key) == ENTRY_KEY_BYTES and key[:32] == self.me]
        last = max((int.from_bytes(key[32:36], "big") for key in own), default=0)
        record = restored.get(RECOVER, {}).get(b"")
        ended = int.from_bytes(record, "big") if record is not None else -1
        self.silent = record is not None
        self._unopened = self.silent and last <= ended
        self.incarnation = ended + 1 if self._unopened else last
        self.may_write = not own or not (self.neighbours or self.silent)
        self.check(Put(books.FORK, key, value) for key, value in restored.get(books.FORK, {}).items())

    def question(self) -> Question:
        """The next one: to all while acknowledgements are wanted, else to the neighbours."""
        text = b"ask" + self._entropy + self.me + len(self._nonces).to_bytes(8, "big")
        self._nonces.append(sha256(text).digest()[:NONCE_BYTES])
        self._compared.clear()
        return ask(self.signer, self.net, self._nonces[-1], int(self.wants_words))

    def told(self, sender: NodeId, found: Answer, book: Book, state: State) -> bool:
        """Take an answer in. Returns whether to compare notes with the neighbour that it came from: its witness holds
        something else than is here."""
        if found.author != self.me or found.nonce not in self._nonces[-NONCES_KEPT:]:
            return False
        if found.witness not in self.neighbours and found.witness not in validators_of(state):
            return False
        if not self._differs(found, book):
            self._take(found)
            return False
        news = sender not in self._compared
        self._compared.add(sender)
        return news

    def _differs(self, found: Answer, book: Book) -> bool:
        if (found.latest, found.latest_seq) > self._last(book):
            return True
        return self.wants_words and (found.incarnation, found.seq, found.head) != self._end(book, found.incarnation)

    def _take(self, found: Answer) -> None:
        place = (found.incarnation, found.seq, found.head)
        self._agree.add(found.witness)
        words = found.acknowledgement
        if words and is_acknowledged(found.witness, words, self.net, self.me, *place):
            self._words.setdefault(place, {})[found.witness] = words

    def look(self, book: Book, state: State, late: bool = False) -> None:
        """Decide whether to write. late: `CHECK_S` are over."""
        if self.may_write and not self.wants_words:
            return
        self.needed, others = acknowledgements_needed(state, self.me)
        found = self._acknowledged(book, state, others)
        self.acknowledged = len(found[1]) if found else 0
        asked = late or self._agree >= self.neighbours
        if not self._unopened:
            self.may_write = self.may_write or asked
            return
        self.incarnation = max(self.incarnation, self._last(book)[0] + 1)
        self.may_write = self.acknowledged >= self.needed and (self.needed > 0 or asked)

    def resumption(self, book: Book, state: State) -> list[object] | None:
        """The payload of "resume", if one is to be written now."""
        if not self.may_write or not self.wants_words:
            return None
        needed, others = acknowledgements_needed(state, self.me)
        found = self._acknowledged(book, state, others)
        if found is None or len(found[1]) < needed:
            return None
        place, words = found
        return [*place, [[who, words[who]] for who in sorted(words)]]

    def wrote(self, entries: Iterable[Entry]) -> None:
        """To this node's own feed, or found there at the start."""
        for entry in entries:
            if entry.incarnation == self.incarnation:
                self._unopened = False
                if entry.kind == "resume" and self.silent:
                    self._resume_seq = entry.seq

    def final(self, state: State) -> bool:
        """A height is final. Whether the node is itself again by it: its "resume" counts."""
        if not self.silent or self._resume_seq is None:
            return False
        if state.number("incarnation", self.me) == self.incarnation:
            self.silent = False
            return True
        at = state.get("feed", self.me, self.incarnation)
        if at is not None and int(at[0]) > self._resume_seq:  # type: ignore[arg-type]  # a count, by state.md
            self._resume_seq = None
            self._words.clear()
        return False

    def check(self, puts: Iterable[Put]) -> None:
        """What others gave is about to be written. Raises LedgerError if this node would fork its feed, or has."""
        for put in puts:
            if put.key[:32] != self.me or put.space not in (ENTRY, books.FORK):
                continue
            incarnation = int.from_bytes(put.key[32:36], "big")
            if put.space == books.FORK and incarnation + int(self._unopened) >= self.incarnation:
                raise LedgerError(
                    f"two entries by this node's key at one position of its feed {incarnation} are known: it is frozen "
                    "for good and needs a new key; see: p2pfl ledger forks"
                )
            if put.space == ENTRY and incarnation >= self.incarnation and not self._unopened:
                seq = int.from_bytes(put.key[36:], "big")
                raise LedgerError(
                    f"others hold entry {incarnation}/{seq} of this node's own feed and this folder does not: it was "
                    "restored from a backup, or the key is in use elsewhere; run: p2pfl ledger recover FOLDER"
                )

    def _last(self, book: Book) -> tuple[int, int]:
        """The last entry of one's own that is here: incarnation and seq."""
        return max(((tip.incarnation, tip.seq) for tip in book.tips() if tip.author == self.me), default=(0, -1))

    def _end(self, book: Book, incarnation: int) -> Place | None:
        tip = book.tip((self.me, incarnation))
        return (incarnation, tip.seq, tip.id) if tip else None

    def _acknowledged(self, book: Book, state: State, others: set[NodeId]) -> tuple[Place, dict[NodeId, bytes]] | None:
        """The end that is here and that most of these validators have acknowledged; nobody's word if there are none."""
        found = [
            (place, {who: word for who, word in words.items() if who in others})
            for place, words in self._words.items()
            if place == self._end(book, place[0])
        ]
        if not found and not others:
            end = self._end(book, state.number("incarnation", self.me))
            return (end, {}) if end else None
        return max(found, key=lambda row: (len(row[1]), row[0]), default=None)
