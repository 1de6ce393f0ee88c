"""How a store of an older format becomes one of this format: a chain of steps, each from one format to the next.

A step is SQL that keeps what was there, byte for byte, and adds what the next format needs. All steps that a file needs
run in one transaction together with the new format number: a migration is whole, or the file is as it was. A new format
adds its step here, a line in docs/formats/store.md, and a file that the version before it wrote to `tests/vectors`; no
step is ever taken away. There is no way back: a newer format is refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from p2pfl.errors import ConfigError
from p2pfl.ledger.feeds.records import FINAL

FEEDS_ONLY = 1
"""No ledger, and no check values in `kv`. A writer migrates it, a reader reads it as it is."""

FORMAT = 2
"""`user_version` of a file that this version writes."""

_FINAL = f"OLD.space IN ({', '.join(repr(space) for space in FINAL)})"
GUARDS = f"""
CREATE TRIGGER kv_no_update BEFORE UPDATE ON kv WHEN {_FINAL} AND
    (NEW.space, NEW.key, NEW.value) IS NOT (OLD.space, OLD.key, OLD.value)
    BEGIN SELECT RAISE(ABORT, 'final records are insert-only'); END;
CREATE TRIGGER kv_no_delete BEFORE DELETE ON kv WHEN {_FINAL}
    BEGIN SELECT RAISE(ABORT, 'final records are insert-only'); END;
"""


@dataclass(frozen=True, slots=True)
class Step:
    """`sql` may call check_of(space, key, value); it neither begins nor ends a transaction."""

    adds: str
    sql: str


STEPS: Mapping[int, Step] = {
    FEEDS_ONLY: Step(
        "check values for every record, and guards on final ones",
        f"""
        ALTER TABLE kv ADD COLUMN check_value INTEGER NOT NULL DEFAULT 0;
        UPDATE kv SET check_value = check_of(space, key, value);
        {GUARDS}
        """,
    ),
}
"""Format -> how it becomes the next one."""


def check_known(version: object, where: object) -> int:
    """A file's format, if this version can do something with it. Raises ConfigError, which says what to do."""
    if isinstance(version, int) and version > FORMAT:
        raise ConfigError(
            f"{where}: expected store format {FORMAT} or older, got {version}: a newer version of p2pfl wrote it; "
            "update p2pfl on this machine"
        )
    if not isinstance(version, int) or not (version == FORMAT or version in STEPS):
        raise ConfigError(f"{where}: expected store format {min(STEPS)} to {FORMAT}, got {version!r}")
    return version


def steps_from(version: int) -> list[Step]:
    """What a file of this format lacks, in order; nothing if it is of the newest."""
    return [STEPS[number] for number in range(version, FORMAT)]


def script_from(version: int) -> str:
    """One transaction that brings a file of this format to the newest."""
    body = "\n".join(step.sql for step in steps_from(version))
    return f"BEGIN IMMEDIATE; {body} PRAGMA user_version = {FORMAT}; COMMIT;"
