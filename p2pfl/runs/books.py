"""Finding what is asked about a ledger: runs, nodes, ids. Knows folders and URLs; never changes anything."""

import re
import tomllib
import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import BrokenChain, ConfigError, HostError, Reject
from p2pfl.ledger.check.source import PIECE_BYTES_MAX, FileSource, Source, View
from p2pfl.ledger.feeds.entry import Entry, parse
from p2pfl.ledger.stores.reader import STORE as STORE_NAME
from p2pfl.ledger.stores.reader import Row, open_reader
from p2pfl.runs.fetch import opener

NETWORK_NAME = "network.toml"
CONFIG_NAME = "config.toml"
NOT_FINAL = 3
"""Exit code: what was asked about is there, and not final yet."""

ID_CHARS_SHOWN = 10
_PATTERNS = tuple("*/" * depth + STORE_NAME for depth in range(4))
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Book:
    """One node's store: its name among its neighbours, and the rows in it."""

    name: str
    path: Path
    rows: list[Row]
    key: bytes | None = None
    """Whose store it is, if that is known."""

    @property
    def author(self) -> bytes | None:
        """Whose feed it is; None for an empty store, or one that holds several and does not say."""
        if self.key is not None:
            return self.key
        authors = {row.author for row in self.rows if isinstance(row.author, bytes)}
        return next(iter(authors)) if len(authors) == 1 else None


def stores(run: Path) -> list[tuple[str, Path]]:
    """Names and paths of the stores in `run`. Raises ConfigError if there is none."""
    if run.is_file():
        return [(_name_of(run), run)]
    for pattern in _PATTERNS:
        found = sorted(run.glob(pattern))
        if found:
            return [(_name_of(path), path) for path in found]
    kind = "a folder without one" if run.is_dir() else "nothing there"
    raise ConfigError(f"{run}: expected a run's folder with {STORE_NAME} in it, found {kind}")


def _name_of(store: Path) -> str:
    """What the node of this store is called: by the configuration beside it, else as its folder."""
    folder = store.resolve().parent
    try:
        return str(tomllib.loads((folder / CONFIG_NAME).read_text("utf-8"))["name"])
    except (OSError, ValueError, KeyError):
        return folder.name


def names_near(run: Path) -> dict[str, NodeId]:
    """Names and keys from the network document of this run, if one lies in the folder or above it."""
    here = run.resolve()
    for folder in (here, *list(here.parents)[:3]):
        try:
            table = tomllib.loads((folder / NETWORK_NAME).read_text("utf-8"))
            nodes = table.get("nodes", [])
            return {str(n["name"]): NodeId(bytes.fromhex(n["key"])) for n in nodes}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return {}


def select(run: Path, node: str | None, rows: bool = True) -> list[Book]:
    """The stores in `run` that `node` asks for. Raises ConfigError if none does, naming those that are there."""
    books = []
    for name, path in stores(run):
        key = names_near(path.parent).get(name)
        books.append(Book(name, path, list(_read(path)) if rows else [], key))
    if node is None:
        return books
    named = [book for book in books if book.name == node]
    by_key = [book for book in books if book.author and book.author.hex().startswith(node.lower())]
    if not named and not by_key:
        there = ", ".join(f"{book.name} ({short(book.author or b'')})" for book in books)
        raise ConfigError(f"no node {node!r} in {run}; there are: {there}")
    return named or by_key


def find(books: list[Book], prefix: str) -> tuple[Book, Entry]:
    """The only entry whose id begins with `prefix`. Raises ConfigError for none, several, or one that is damaged."""
    matches: dict[bytes, tuple[Book, Row]] = {}
    for book in books:
        for row in book.rows:
            if isinstance(row.id, bytes) and row.id.hex().startswith(prefix.lower()):
                matches.setdefault(row.id, (book, row))
    if not matches:
        raise ConfigError(f"no entry's id begins with {prefix!r}; see: p2pfl ledger log")
    if len(matches) > 1:
        some = ", ".join(f"{id_.hex()[:ID_CHARS_SHOWN]} ({book.name})" for id_, (book, _) in list(matches.items())[:8])
        raise ConfigError(f"{len(matches)} entries' ids begin with {prefix!r}: {some}{', ...' * (len(matches) > 8)}")
    book, row = next(iter(matches.values()))
    entry = parsed(row)
    if isinstance(entry, str):
        raise ConfigError(f"the entry {row.name} is damaged: {entry}; see: p2pfl ledger verify")
    return book, entry


def parsed(row: Row) -> Entry | str:
    """The row's entry, or what is wrong with it."""
    try:
        return parse(row.raw) if isinstance(row.raw, bytes) else "raw is no bytes"
    except Reject as error:
        return str(error)


def _read(path: Path) -> Iterator[Row]:
    with open_reader(path) as reader:
        yield from reader.rows()


# ----------------------------------------------------------------------------------------- a node's ledger


class UrlSource:
    """The pieces that a running node serves."""

    def __init__(self, url: str) -> None:
        self.name = url.rstrip("/")
        self._opener = opener()

    def get(self, what: str) -> bytes | None:
        """Raises HostError if the node does not answer."""
        try:
            with self._opener.open(f"{self.name}/v1/ledger/{what}", timeout=_TIMEOUT_S) as reply:
                return bytes(reply.read(PIECE_BYTES_MAX))
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return None
            raise HostError(f"{self.name}: answers {error.code} for {what}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise HostError(f"{self.name} does not answer: {reason}; is the node running?") from None


@dataclass(frozen=True, slots=True)
class Ledger:
    """One node's ledger, and how the nodes of its network are called."""

    node: str
    view: View
    keys: Mapping[str, NodeId]
    path: Path | None

    def name(self, key: bytes) -> str:
        """`alice (3fa9c0de)`, or the digits alone."""
        for name, known in self.keys.items():
            if known == key:
                return f"{name} ({short(key)})"
        return short(key)

    def key(self, text: str) -> NodeId:
        """The node of this name or of these first hex digits. Raises ConfigError for none or several."""
        if text in self.keys:
            return self.keys[text]
        known = {NodeId(parts[0]) for tag in ("member", "incarnation", "frozen") for parts, _ in self._items(tag)}
        known |= {NodeId(parts[0]) for parts, _ in self._items("feed")} | set(self.keys.values())
        found = sorted(key for key in known if key.hex().startswith(text.lower())) if text else []
        if len(found) == 1:
            return found[0]
        if re.fullmatch("[0-9a-fA-F]{64}", text):
            return NodeId(bytes.fromhex(text))
        if not found:
            there = ", ".join(sorted(self.name(key) for key in known)[:8])
            raise ConfigError(f"no node {text!r} in this ledger; there are: {there}")
        some = ", ".join(key.hex()[:12] for key in found[:8])
        raise ConfigError(f"{len(found)} nodes' keys begin with {text!r}: {some}")

    def _items(self, tag: str) -> list[tuple[tuple[bytes, ...], object]]:
        return self.view.state().items(tag)  # type: ignore[return-value]


@contextmanager
def read_ledger(run: str, node: str | None = None) -> Iterator[Ledger]:
    """The ledger in a run's folder or file, or at a node's URL. Of several nodes the one that is farthest is read.

    Raises ConfigError if there is none, and for a ledger that is damaged: `verify` says what is wrong.
    """
    with ExitStack() as stack:
        try:
            yield _remote(run) if run.startswith(("http://", "https://")) else _local(Path(run), node, stack)
        except BrokenChain as error:
            raise ConfigError(f"{error}; see: p2pfl ledger verify") from None


def _remote(url: str) -> Ledger:
    view = View(UrlSource(url))
    if not view.height and view.source.get("genesis") is None:
        raise ConfigError(f"{url}: this node serves no ledger")
    return Ledger(url, view, {}, None)


def _local(run: Path, node: str | None, stack: ExitStack) -> Ledger:
    found = []
    for book in select(run, node, rows=node is not None):
        reader = stack.enter_context(open_reader(book.path))
        source: Source = FileSource(reader)
        if source.get("genesis") is not None:
            found.append(Ledger(book.name, View(source), names_near(book.path.parent), book.path))
    if not found:
        raise ConfigError(f"{run}: no finalized ledger in it: these nodes kept feeds only; see: p2pfl ledger log")
    return max(found, key=lambda ledger: ledger.view.height)


def write_file(path: Path, data: bytes) -> None:
    """Raises ConfigError if it cannot be written."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
