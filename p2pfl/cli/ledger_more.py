"""`p2pfl ledger diff, watch, export, recover`: comparing, following and taking along what a node keeps."""

import csv
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from p2pfl.cli.ledger_books import node_option, run_argument, source_argument
from p2pfl.cli.show import json_option, print_json
from p2pfl.cli.waiting import waiting
from p2pfl.core.ids import short
from p2pfl.errors import BrokenChain, ConfigError
from p2pfl.ledger.check.explain import replay
from p2pfl.ledger.check.source import View
from p2pfl.ledger.feeds.describe import summary
from p2pfl.ledger.outcome.state import Cell, first_difference
from p2pfl.ledger.outcome.state import name_of as key_name
from p2pfl.ledger.outcome.work import flows
from p2pfl.runs.books import Ledger, read_ledger, select

TABLES = ("entries", "balances", "pairs", "payouts")


# ----------------------------------------------------------------------------------------------------- diff


@click.command()
@click.argument("one", metavar="RUN|URL")
@click.argument("other", metavar="RUN|URL")
@json_option
def diff(one: str, other: str, as_json: bool) -> int:
    """Compare two nodes' ledgers: the first block and the first state key that differ. Exit code 1 if any does."""
    with read_ledger(one) as mine, read_ledger(other) as theirs:
        found = _difference(mine, theirs)
    if as_json:
        print_json({"same": not found, "differences": found})
    elif not found:
        click.echo("the same up to where both are final")
    for line in found if not as_json else ():
        click.echo(line)
    return 1 if found else 0


def _difference(mine: Ledger, theirs: Ledger) -> list[str]:
    one, other = mine.view, theirs.view
    if one.genesis.digest != other.genesis.digest:
        return [f"two networks: {short(one.genesis.digest)} and {short(other.genesis.digest)}"]
    common = min(one.height, other.height)
    lines = []
    height = _first_block(one, other, common)
    if height is not None:
        pair = (one.block(height).header, other.block(height).header)
        names = [name for name, value in vars(pair[0]).items() if vars(pair[1]).get(name, value) != value]
        fields = ", ".join(name for name in names if name not in ("raw", "hash"))
        lines.append(f"height {height}: two blocks: {short(pair[0].hash)} and {short(pair[1].hash)}; other: {fields}")
    if one.height == other.height:
        lines += _state_difference(one, other)
    return lines


def _first_block(one: View, other: View, common: int) -> int | None:
    """The first height at which the blocks differ: by halves, because every block names the one before."""
    if common == 0 or one.block(common).hash == other.block(common).hash:
        return None
    low, high = 1, common
    while low < high:
        middle = (low + high) // 2
        if one.block(middle).hash == other.block(middle).hash:
            low = middle + 1
        else:
            high = middle
    return low


def _state_difference(one: View, other: View) -> list[str]:
    found = first_difference(one.state(), other.state())
    if found is None:
        return []
    key, mine, theirs = found
    lines = [f"state key {key_name(key)}: {_cell(mine)} and {_cell(theirs)}"]
    for view, cell in ((one, mine), (other, theirs)):
        if cell is not None:
            lines.append(f"  {view.source.name}: last touched by {_touch(view, cell.touched)}")
    return lines


def _touch(view: View, index: int) -> str:
    if index >= view.log.size:
        return f"leaf {index}, which is not there"
    try:
        leaf = view.leaf(index)
    except BrokenChain as error:
        return f"leaf {index} ({error})"
    if leaf.entry is None:
        return f"the end of height {leaf.height} (leaf {index})"
    return f"leaf {index}: {leaf.entry.name}, {leaf.entry.kind}"


def _cell(cell: Cell | None) -> str:
    return (
        "nothing" if cell is None else ", ".join(v.hex()[:16] if isinstance(v, bytes) else str(v) for v in cell.value)
    )


# ---------------------------------------------------------------------------------------------------- watch


@click.command()
@source_argument
@click.option("--from", "first", type=click.IntRange(min=1), help="Begin at this height; else at the next one.")
@click.option("--until", type=click.IntRange(min=1), help="End after this height; else never.")
@click.option("--every", "every_s", default=1.0, show_default=True, help="Seconds between looks.")
@node_option
@json_option
def watch(run: str, first: int | None, until: int | None, every_s: float, node: str | None, as_json: bool) -> None:
    """Print every height as it becomes final."""
    seen = None if first is None else first - 1
    while True:
        with read_ledger(run, node) as ledger:
            seen = ledger.view.height if seen is None else seen
            for block in ledger.view.blocks(seen + 1):
                entries = ledger.view.entries(block)
                _print_height(ledger, block.height, [f"{e.name} {e.kind}: {summary(e)}" for e in entries], as_json)
                seen = block.height
                if until is not None and seen >= until:
                    return
        time.sleep(every_s)


def _print_height(ledger: Ledger, height: int, lines: Sequence[str], as_json: bool) -> None:
    if as_json:
        print_json({"height": height, "node": ledger.node, "entries": list(lines)})
        return
    click.echo(f"height {height}: {len(lines)} entries")
    for line in lines:
        click.echo(f"  {line}")


# --------------------------------------------------------------------------------------------------- export


@click.command()
@source_argument
@click.argument("out", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--table", "what", type=click.Choice(TABLES), default="entries", show_default=True, help="What to export."
)
@node_option
@json_option
def export(run: str, out: Path, what: str, node: str | None, as_json: bool) -> None:
    """Write a table of the final ledger to FILE: .csv or .parquet."""
    write = {".csv": _write_csv, ".parquet": _write_parquet}.get(out.suffix)
    if write is None:
        raise ConfigError(f"{out}: expected a file that ends with .csv or .parquet")
    with read_ledger(run, node) as ledger:
        columns, rows = _table(ledger, what)
        with waiting(f"writing {out}", as_json):
            num_rows = write(out, columns, rows)
    if as_json:
        print_json({"path": str(out), "table": what, "columns": list(columns), "num_rows": num_rows})
    else:
        click.echo(f"{out}: {num_rows} rows")


Rows = Iterator[tuple[Any, ...]]


def _table(ledger: Ledger, what: str) -> tuple[tuple[str, ...], Rows]:
    view = ledger.view
    match what:
        case "balances":
            balances = view.state().items("balance")
            return ("node", "balance"), ((parts[0].hex(), value[0]) for parts, value in balances)
        case "pairs":
            named = ("sender", "receiver", "sent", "confirmed", "refused", "confirmed_bytes")
            return named, ((a.hex(), b.hex(), *flow[:4]) for a, b, flow in flows(view.state()))
        case "payouts":
            return ("window", "first_height", "last_height", "node", "credits"), _payouts(view)
    columns = ("index", "height", "time_ms", "author", "incarnation", "seq", "round", "kind", "id", "summary", "size")
    return columns, _entries(view)


def _payouts(view: View) -> Rows:
    for played in replay(view):
        if (settled := played.outcome.settlement) is not None:
            place = (settled.window.number, settled.window.first_height, settled.window.last_height)
            yield from ((*place, node.hex(), amount) for node, amount in settled.payouts.items())


def _entries(view: View) -> Rows:
    for block in view.blocks():
        for index, e in enumerate(view.entries(block), block.header.first_index):
            where = (index, block.height, block.header.time_ms, e.author.hex(), e.incarnation, e.seq)
            yield (*where, e.round, e.kind, e.id.hex(), summary(e), len(e.raw))


def _write_csv(out: Path, columns: Sequence[str], rows: Rows) -> int:
    count = 0
    try:
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for row in rows:
                writer.writerow(row)
                count += 1
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}") from None
    return count


def _write_parquet(out: Path, columns: Sequence[str], rows: Rows) -> int:
    try:
        import pyarrow  # type: ignore[import-untyped,unused-ignore]
        from pyarrow import parquet  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise ConfigError(f"{out}: Parquet needs pyarrow; install it with: pip install 'p2pfl-node[parquet]'") from None
    cells = list(zip(*rows, strict=True)) or [()] * len(columns)
    table = pyarrow.table({name: list(values) for name, values in zip(columns, cells, strict=True)})
    try:
        parquet.write_table(table, out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error}") from None
    return int(table.num_rows)


# -------------------------------------------------------------------------------------------------- recover


@click.command()
@run_argument
@node_option
@json_option
def recover(run: Path, node: str | None, as_json: bool) -> None:
    """Say that a stopped node's store was restored from a backup: it must not go on where the backup ends.

    At its next start the node takes back from the others what it wrote since, and asks the validators where its feed
    ended. Until f + 1 of the others have acknowledged the end that it then holds, it writes nothing, learns nothing and
    votes for nothing. Then it opens a new incarnation of its feed with a resume entry, and learns on. It votes again
    when that entry is final; where validators tolerate no failure (fewer than four), a validator that lost its votes
    cannot make anything final any more.
    """
    from p2pfl.runs.backup import mark_restored

    books = select(run, node)
    if len(books) != 1:
        raise ConfigError(f"{run}: expected one node, found {len(books)}: choose it with --node")
    book = books[0]
    mine = [row for row in book.rows if row.author == book.author]
    if book.author is None or not mine:
        raise ConfigError(f"{book.path}: has no feed of its own, so there is nothing to recover: just start the node")
    last = max(mine, key=lambda row: (_whole(row.incarnation), _whole(row.seq)))
    mark_restored(book.path, book.author)
    if as_json:
        found = {"node": book.name, "incarnation": last.incarnation, "seq": last.seq, "id": last.id}
        print_json({**found, "next_incarnation": _whole(last.incarnation) + 1})
        return
    click.echo(f"{book.name}: its feed ends here with {last.name}; the next start goes on in incarnation ", nl=False)
    click.echo(f"{_whole(last.incarnation) + 1}, once f + 1 validators have acknowledged where it really ended")


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
