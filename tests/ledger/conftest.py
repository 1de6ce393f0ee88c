"""A feed with every kind of entry, and stores to put it in. Seeds are fixed: every byte is the same in each run."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from p2pfl.core.party import Put, Store
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import ACCEPTED, FORMAT, ModelDigest, Opening, Reveal
from p2pfl.ledger.feeds.records import put_entry, put_receipt
from p2pfl.ledger.feeds.tally import Tally
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.wire.envelope import seal
from p2pfl.wire.keyfile import Signer


class World:
    """Two nodes of one network, and what one of them recorded."""

    net = bytes(range(32))
    alice = Signer(b"alice".ljust(32, b"\1"))
    bob = Signer(b"bob".ljust(32, b"\2"))
    digest = bytes([7]) * 32

    def opened(self, signer: Signer) -> tuple[Feed, Entry]:
        """A feed with its first entry."""
        return append(Feed(self.net, signer.node), signer, 0, "feed.open", Opening(FORMAT, self.digest))

    def story(self, signer: Signer | None = None, windows: int = 1) -> list[Entry]:
        """It opens; each window reveals one delta and acknowledges two messages; last comes the model's digest."""
        signer = signer or self.alice
        feed, entry = self.opened(signer)
        entries, tally = [entry], Tally()
        for window in range(windows):
            reveal = Reveal(self.bob.node, 0, window, self.digest, 900, "int8")
            feed, entry = append(feed, signer, window, "delta.reveal", [reveal])
            entries.append(entry)
            rows = []
            for seq in (2 * window, 2 * window + 1):
                tally, receipt = tally.add(self.bob.node, 0, seq, self.digest, 800, ACCEPTED)
                rows.append(receipt)
            feed, entry = append(feed, signer, window, "receipts", rows)
            entries.append(entry)
        _, entry = append(feed, signer, windows, "model", ModelDigest(self.digest, 1))
        return [*entries, entry]

    def answer(self, seq: int = 0) -> Put:
        """What a store keeps of bob's signed answer."""
        (head, *_) = seal(self.bob, self.net, "answer", [seq], (b"body",))
        return put_receipt(self.bob.node, 0, seq, bytes(head))

    def write(self, path: Path, entries: list[Entry], *more: Put) -> Path:
        """A store at `path`, closed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        store = SqliteStore(path)
        store.commit([*map(put_entry, entries), *more])
        store.close()
        return path


@pytest.fixture(scope="session")
def world() -> World:
    return World()


class Kept:
    """A store under test, that can lose its process and be opened again."""

    def __init__(self, make: Callable[[], Store]) -> None:
        self._make = make
        self.store = make()

    def reopen(self) -> Store:
        self.store.close()
        if isinstance(self.store, MemoryStore):
            self.store.crash()
        else:
            self.store = self._make()
        return self.store


@pytest.fixture(params=["memory", "sqlite in memory", "sqlite file"])
def make_kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Kept]]:
    """Makes empty stores of each kind. SQLite's ":memory:" has no log to lose, so "in memory" is a memory-backed file
    system where the machine has one."""
    with ExitStack() as stack:

        def make() -> Kept:
            if request.param == "memory":
                return Kept(MemoryStore)
            shm = Path("/dev/shm")
            where = shm if request.param == "sqlite in memory" and shm.is_dir() else tmp_path
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=where))) / "node.db"
            kept = Kept(lambda: SqliteStore(path))
            stack.callback(lambda: kept.store.close())
            return kept

        yield make


@pytest.fixture
def kept(make_kept: Callable[[], Kept]) -> Kept:
    """One empty store of each kind."""
    return make_kept()
