"""Reading one node's ledger piece by piece, from its file or over the network. Knows what pieces there are; no socket.

A piece has a name and is bytes. The names are the paths below `/v1/ledger/` of a node, so a file and a URL are read by
the same code (`View`), and a node serves them with `FileSource.get`:

| name | piece |
|---|---|
| `genesis` | the genesis document |
| `tip` | the record of the last height |
| `final/<height>` | canonical [block, certificate] |
| `voters/<height>` | who votes after that height, where that changed |
| `checkpoint/<height>` | the checkpoint after that height |
| `node/<level>/<number>` | a hash of the tree |
| `leaf/<index>` | what the leaf is |
| `entry/<id>` | a raw entry |
| `id/<hex digits>` | canonical rows [kind, id, place] of entries and blocks whose id begins so, at most `MATCHES_MAX` |
| `state` | canonical rows [key, cell] of the state after the last height |

All but the first, second and last never change once they are there. Nothing that comes from a source is believed: a
proof is made of it, or it is shown as what that node says.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from p2pfl.errors import BrokenChain, ConfigError, Reject
from p2pfl.ledger.blocks.block import Block
from p2pfl.ledger.blocks.checkpoint import Signed, parse_checkpoint
from p2pfl.ledger.blocks.genesis import Genesis, parse_genesis
from p2pfl.ledger.blocks.log import LEAF, NODE, Log, index_key, leaf_place, node_key
from p2pfl.ledger.blocks.merkle import Fetch
from p2pfl.ledger.blocks.votes import Certificate, Validators
from p2pfl.ledger.feeds.entry import Entry, parse
from p2pfl.ledger.finality.journal import FINAL, parse_decided
from p2pfl.ledger.finality.tip import CHECKPOINT, GENESIS, STATE, TIP, VOTERS, parse_tip, restore_state
from p2pfl.ledger.outcome.state import State
from p2pfl.ledger.stores.reader import Reader
from p2pfl.wire import canonical

MATCHES_MAX = 16
PIECE_BYTES_MAX = 1 << 28
STATE_TRIES_MAX = 16
"""A node that finds a new tip each time that its state is read goes on faster than it can be read."""
ENTRY_MATCH, BLOCK_MATCH = 0, 1


T = TypeVar("T")


def _parsed(what: str, parser: Callable[[bytes], T], raw: bytes) -> T:
    try:
        return parser(raw)
    except (Reject, ValueError, TypeError) as error:
        raise BrokenChain(f"{what}: {error}") from None


class Source(Protocol):
    """Where pieces come from."""

    @property
    def name(self) -> str:
        """For messages: a path or a URL."""
        ...

    def get(self, what: str) -> bytes | None:
        """The piece of this name; None if the node does not have it. Raises ConfigError if it cannot be asked."""
        ...


class FileSource:
    """The pieces in a node's store."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.name = str(reader.path)
        self._by_name: dict[str, Callable[[list[str]], bytes | None]] = {
            "genesis": lambda _: reader.value(GENESIS, b""),
            "tip": lambda _: reader.value(TIP, b""),
            "final": lambda rest: reader.value(FINAL, index_key(int(rest[0]))),
            "voters": lambda rest: reader.value(VOTERS, index_key(int(rest[0]))),
            "checkpoint": lambda rest: reader.value(CHECKPOINT, index_key(int(rest[0]))),
            "node": lambda rest: reader.value(NODE, node_key(int(rest[0]), int(rest[1]))),
            "leaf": lambda rest: reader.value(LEAF, index_key(int(rest[0]))),
            "entry": lambda rest: reader.entry(bytes.fromhex(rest[0])),
            "id": lambda rest: self._matches(rest[0]),
            "state": lambda _: self._state(),
        }

    def get(self, what: str) -> bytes | None:
        """The piece, or None; also for a name that is none."""
        kind, *rest = what.split("/")
        if kind not in self._by_name:
            return None
        try:
            return self._by_name[kind](rest)
        except (ValueError, IndexError, OverflowError):
            return None

    def _state(self) -> bytes:
        return canonical.packb([[cell.key, cell.value] for cell in self._reader.cells(STATE)])

    def _matches(self, prefix: str) -> bytes:
        found: list[tuple[int, bytes, bytes]] = []
        low, high = bytes.fromhex(f"{prefix:0<64}"), bytes.fromhex(f"{prefix:f<64}")
        for raw in self._reader.entries_between(low, high, MATCHES_MAX):
            entry = parse(raw)
            place = f"{entry.author.hex()}/{entry.incarnation}/{entry.seq}"
            found.append((ENTRY_MATCH, entry.id, place.encode()))
        for cell in self._reader.cells(FINAL):
            if len(found) < MATCHES_MAX and isinstance(cell.value, bytes):
                block = parse_decided(cell.value).block
                if low <= block.hash <= high:
                    found.append((BLOCK_MATCH, block.hash, str(block.height).encode()))
        return canonical.packb(found)


class Leaf(NamedTuple):
    """A leaf of the log: an entry, or (`entry` is None) the header of the block at `height`."""

    number: int
    raw: bytes
    height: int
    entry: Entry | None


class View:
    """One node's ledger as it says it is. Raises BrokenChain for pieces that are missing or not what they must be."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._go_to_the_tip()

    def _go_to_the_tip(self) -> None:
        tip = self.source.get("tip")
        place = parse_tip(tip) if tip is not None else (0, 0, b"", Log())
        self.height, _, self.head, self.log = place

    @property
    def genesis(self) -> Genesis:
        text = self.source.get("genesis")
        if text is None:
            raise ConfigError(f"{self.source.name}: has no genesis: this node takes part in no ledger yet")
        return parse_genesis(text.decode("utf-8", "replace"), f"the genesis in {self.source.name}")

    def block(self, height: int) -> Block:
        return self.decided(height)[0]

    def decided(self, height: int) -> tuple[Block, Certificate | None]:
        """The block of this height, and the certificate if it has one of its own."""
        block, certificate = self._parse(f"final/{height}", parse_decided)
        return block, certificate

    def blocks(self, first: int = 1) -> Iterator[Block]:
        """From a height on to the last."""
        return (self.block(height) for height in range(max(first, 1), self.height + 1))

    def entry(self, id_: bytes) -> Entry:
        return self._parse(f"entry/{id_.hex()}", parse)

    def voters_after(self, height: int) -> Validators:
        """Who votes after this height, at which they changed."""
        return self._parse(f"voters/{height}", lambda raw: Validators(tuple(canonical.unpackb(raw, PIECE_BYTES_MAX))))

    def checkpoint(self, height: int) -> Signed | None:
        note = self.source.get(f"checkpoint/{height}")
        return None if note is None else _parsed(f"checkpoint/{height}", parse_checkpoint, note)

    def state(self) -> State:
        """The state after the last height, as the node keeps it: not recomputed.

        A node that is asked over the network may have gone on since the view was made: then so does the view, and what
        is asked of it from now on fits this state. Raises BrokenChain if the node outruns the reading.
        """
        for _ in range(STATE_TRIES_MAX):
            before = self.head
            rows = self._parse("state", lambda raw: canonical.unpackb(raw, PIECE_BYTES_MAX))
            self._go_to_the_tip()
            if self.head == before:
                return restore_state((key, value) for key, value in rows)
        raise BrokenChain(f"{self.source.name}: goes on faster than its state can be read")

    def leaf(self, index: int) -> Leaf:
        """Raises ConfigError for an index that is not final."""
        if not 0 <= index < self.log.size:
            raise ConfigError(f"expected a log index below {self.log.size}, got {index}: not final yet")
        place = self._place(index)
        if isinstance(place, int):
            return Leaf(index, self.block(place).header.raw, place, None)
        entry = self.entry(place)
        return Leaf(index, entry.raw, self.height_of(index), entry)

    def height_of(self, index: int) -> int:
        """The height whose block made this leaf final."""
        low, high = 1, self.height
        while low < high:
            middle = (low + high) // 2
            if index < self.block(middle).header.next_index:
                high = middle
            else:
                low = middle + 1
        return low

    def entries(self, block: Block) -> list[Entry]:
        """The entries of a block, in order."""
        first = block.header.first_index
        ids = (self._place(index) for index in range(first, first + block.header.entry_count))
        return [self.entry(id_) for id_ in ids if isinstance(id_, bytes)]

    def index_of(self, entry: Entry) -> int | None:
        """The log index of an entry; None if it is not final."""
        for block in self.blocks():
            if any(h.feed == (entry.author, entry.incarnation) and h.seq >= entry.seq for h in block.cut):
                first = block.header.first_index
                places = (self._place(index) for index in range(first, first + block.header.entry_count))
                found = [number for number, place in enumerate(places) if place == entry.id]
                return first + found[0] if found else None
        return None

    def _place(self, index: int) -> bytes | int:
        return leaf_place(self._piece(f"leaf/{index}"))

    def fetch(self) -> Fetch:
        """The tree's stored nodes."""

        def one(level: int, number: int) -> bytes:
            return self._piece(f"node/{level}/{number}")

        return one

    def matches(self, prefix: str) -> list[tuple[int, bytes, str]]:
        """Kind, id and place of what has an id that begins with these hex digits."""
        rows = self._parse(f"id/{prefix}", lambda raw: canonical.unpackb(raw, 1 << 16))
        return [(kind, id_, place.decode()) for kind, id_, place in rows]

    def _piece(self, what: str) -> bytes:
        piece = self.source.get(what)
        if piece is None:
            raise BrokenChain(f"{self.source.name}: {what} is missing")
        return piece

    def _parse(self, what: str, parser: Callable[[bytes], T]) -> T:
        return _parsed(what, parser, self._piece(what))
