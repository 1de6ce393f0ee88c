"""Copies of a node's store: taken while it runs, checked, and put back so that the node does not fork its feed.

A backup is one store file (docs/formats/store.md), the same as `node.db` of a node that was stopped cleanly: every
`p2pfl ledger` command reads it. It is the node at one moment; what the node signed afterwards is not in it. So a backup
that is put back is marked, as `p2pfl ledger recover` does: the node must hear from others where its feed really ended,
and go on in a new incarnation. Only the operator can know that nothing was signed since (`as_it_was`).

Keys and documents are not in it: they do not change while a node runs, and a key should not lie where backups lie.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from p2pfl.core.party import Put
from p2pfl.errors import ConfigError, HostError
from p2pfl.ledger.blocks.log import index_key
from p2pfl.ledger.check.verify import Verification, verify_store
from p2pfl.ledger.stores.reader import STORE, open_reader
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.peer.recovery import RECOVER


@dataclass(frozen=True, slots=True)
class Backup:
    """A store file that was copied, and what verifying the copy found."""

    path: Path
    size_bytes: int
    found: Verification


def back_up(store: Path, out: Path) -> Backup:
    """Copy `store` as it is at this moment into the new file `out`, and verify the copy whole.

    Its node may run and goes on. Raises ConfigError if `out` exists, HostError if it cannot be written or the copy does
    not verify; nothing is left behind then.
    """
    with open_reader(store) as reader, _new_file(out) as part:
        reader.copy_into(part)
        found = _verified(part, store)
    return Backup(out, out.stat().st_size, found)


def restore(backup: Path, run: Path, author: bytes | None, as_it_was: bool) -> Backup:
    """Make `backup` the store of the run folder `run`, which must not have one; marked unless `as_it_was`.

    author: whose node it is; None if it is the only one in the store.
    """
    store = run / STORE
    if store.exists():
        raise ConfigError(f"{run} has a {STORE} already: move it away first (with -wal and -shm beside it), or keep it")
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot use the run folder {run}: {error.strerror}") from None
    with open_reader(backup) as reader, _new_file(store) as part:
        reader.copy_into(part)
        found = _verified(part, backup)
        if not as_it_was:
            mark_restored(part, _whose(found, author, backup))
    return Backup(store, store.stat().st_size, found)


def mark_restored(store: Path, author: bytes) -> int | None:
    """Say that `author`'s feed may go on elsewhere than this store ends; the incarnation that ended, None without one.

    The node's next start asks the others (p2pfl/peer/recovery.py). Raises ConfigError while another process writes.
    """
    with open_reader(store) as reader:
        mine = [row.incarnation for row in reader.rows() if row.author == author]
    ended = max((number for number in mine if isinstance(number, int)), default=None)
    if ended is None:
        return None
    writer = SqliteStore(store)
    try:
        writer.commit([Put(RECOVER, b"", index_key(ended))])
    finally:
        writer.close()
        with suppress(OSError):
            store.with_name(store.name + ".lock").unlink()
    return ended


def _whose(found: Verification, author: bytes | None, backup: Path) -> bytes:
    authors = {chain.author for chain in found.chains}
    if author is not None:
        return author
    if len(authors) > 1:
        raise ConfigError(f"{backup}: holds feeds of {len(authors)} nodes; say whose it is with --node")
    return next(iter(authors), b"")


def _verified(part: Path, source: Path) -> Verification:
    with open_reader(part) as reader:
        damage = reader.integrity()
    found = verify_store(part)
    problems = [*damage, *(f"{problem.where}: {problem.what}" for problem in found.problems)]
    if problems:
        raise HostError(f"{source} does not verify, so it was not copied: {problems[0]} ({len(problems)} problems)")
    return found


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """A file beside `path`, for its owner alone, that becomes `path` at the end; removed if anything goes wrong."""
    if path.exists():
        raise ConfigError(f"{path} exists already: choose another file; nothing is overwritten")
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield part
        _flush(part)
        part.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from None
    finally:
        for suffix in ("", "-journal", "-wal", "-shm", ".lock"):
            with suppress(OSError):
                part.with_name(part.name + suffix).unlink()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
