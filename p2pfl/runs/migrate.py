"""Brings stores to the format that this version writes, with the old file kept. Knows stores; knows no terminal.

A node does the same by itself when it starts. Doing it before shows what will be done, keeps a copy of the old file,
and verifies the new one whole.
"""

from dataclasses import dataclass
from pathlib import Path

from p2pfl.errors import HostError, P2PFLError
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.stores.migrations import FORMAT, steps_from
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.runs.backup import back_up


@dataclass(frozen=True, slots=True)
class Migration:
    """Of one store. `kept`: where the old file is; None if nothing was done."""

    store: Path
    before: int
    adds: tuple[str, ...]
    kept: Path | None = None


def planned(store: Path) -> Migration:
    """What `store` lacks. Raises ConfigError for a newer format, with what to do."""
    with open_reader(store) as reader:
        return Migration(store, reader.format, tuple(step.adds for step in steps_from(reader.format)))


def migrate(store: Path) -> Migration:
    """Bring `store` to this version's format; its node must be stopped. A store of this format is left alone.

    Raises ConfigError if another process uses it, HostError if there is no room for the copy or either file does not
    verify: then the store is as it was.
    """
    plan = planned(store)
    if plan.before == FORMAT:
        return plan
    kept = store.with_name(f"{store.stem}.v{plan.before}{store.suffix}")
    back_up(store, kept)
    try:
        SqliteStore(store).close()
    except P2PFLError:
        kept.unlink()
        raise
    found = verify_store(store)
    if not found.ok:
        raise HostError(
            f"{store} does not verify after its migration; the old file is {kept}: {found.problems[0].what}"
        )
    return Migration(store, plan.before, plan.adds, kept)
