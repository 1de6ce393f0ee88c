"""`p2pfl ledger`: read and check what nodes recorded, from their files. Never changes them; the node may be running."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.core.ids import short
from p2pfl.errors import ConfigError, Reject
from p2pfl.ledger.describe import details, summary
from p2pfl.ledger.entry import Entry, check_signature, parse
from p2pfl.ledger.reader import Row, open_reader
from p2pfl.ledger.verify import Verification, verify_store

STORE_NAME = "node.db"
_PATTERNS = (STORE_NAME, f"*/{STORE_NAME}", f"*/*/{STORE_NAME}")
_ID_CHARS_SHOWN = 10

run_argument = click.argument("run", type=click.Path(path_type=Path))
node_option = click.option(
    "--node", "node", metavar="NAME", help="Only this node: the name of its folder, or the first hex digits of its key."
)


@dataclass(frozen=True, slots=True)
class Book:
    """One node's store: its name among its neighbours, and the rows in it."""

    name: str
    path: Path
    rows: list[Row]

    @property
    def author(self) -> bytes | None:
        """Whose feed it is; None for an empty store."""
        return next((row.author for row in self.rows if isinstance(row.author, bytes)), None)


@click.group()
def ledger() -> None:
    """Inspect and verify what a node recorded.

    RUN is a run's folder, a folder of such folders, or a node.db file. Nothing in it is changed.
    """


@ledger.command()
@run_argument
@node_option
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, help="Last entries; 0 for all.")
@json_option
def log(run: Path, node: str | None, limit: int, as_json: bool) -> None:
    """List the entries of each node's feed."""
    books = select(run, node)
    if as_json:
        print_json({"nodes": [_book_json(book, limit) for book in books]})
        return
    for book in books:
        shown = _last(book.rows, limit)
        hidden = len(book.rows) - len(shown)
        author = f" ({short(book.author)})" if book.author else ""
        more = f", the last {len(shown)} of them; --limit 0 shows all" if hidden else ""
        title = f"{book.name}{author}: {len(book.rows)} {'entry' if len(book.rows) == 1 else 'entries'}{more}"
        click.echo(title)
        print_table(("seq", "round", "kind", "summary", "bytes", "id"), [_line(row) for row in shown])


@ledger.command()
@run_argument
@click.argument("entry_id", metavar="ID")
@node_option
@json_option
def show(run: Path, entry_id: str, node: str | None, as_json: bool) -> None:
    """Show one entry whole. ID is its first hex digits, as many as make it the only one."""
    book, entry = find(select(run, node), entry_id)
    signed = check_signature(entry)
    if as_json:
        print_json({**details(entry), "signed": signed, "node": book.name, "raw": entry.raw.hex()})
        return
    fields = details(entry)
    payload = fields.pop("payload")
    for name, value in fields.items():
        click.echo(f"{name:<12} {value}")
    click.echo(f"{'signature':<12} {'good' if signed else 'NOT THE AUTHOR’S'}")
    if isinstance(payload, dict):
        payload = [payload]
    if payload and isinstance(payload[0], dict):
        print_table(
            [name.replace("_", " ") for name in payload[0]],
            [[_cell(value) for value in row.values()] for row in payload],
        )
    else:
        click.echo(f"{'payload':<12} {payload!r}")
    click.echo(f"{'raw':<12} {entry.raw.hex()}")


@ledger.command()
@run_argument
@node_option
@json_option
def verify(run: Path, node: str | None, as_json: bool) -> int:
    """Check every entry, signature, link and receipt again. Exit code 1 if anything is wrong."""
    results = [(book.name, verify_store(book.path)) for book in select(run, node, rows=node is not None)]
    if as_json:
        print_json({"ok": all(r.ok for _, r in results), "nodes": [_result_json(name, r) for name, r in results]})
    else:
        for name, result in results:
            _print_result(name, result)
    return 0 if all(result.ok for _, result in results) else 1


# ------------------------------------------------------------------------------------------------- finding


def stores(run: Path) -> list[tuple[str, Path]]:
    """Names and paths of the stores in `run`. Raises ConfigError if there is none."""
    if run.is_file():
        return [(run.resolve().parent.name, run)]
    for pattern in _PATTERNS:
        found = sorted(run.glob(pattern))
        if found:
            return [(path.resolve().parent.name, path) for path in found]
    kind = "a folder without one" if run.is_dir() else "nothing there"
    raise ConfigError(f"{run}: expected a run's folder with {STORE_NAME} in it, found {kind}")


def select(run: Path, node: str | None, rows: bool = True) -> list[Book]:
    """The stores in `run` that `node` asks for. Raises ConfigError if none does, naming those that are there."""
    books = [Book(name, path, list(_read(path)) if rows else []) for name, path in stores(run)]
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
        some = ", ".join(f"{id_.hex()[:_ID_CHARS_SHOWN]} ({book.name})" for id_, (book, _) in list(matches.items())[:8])
        raise ConfigError(f"{len(matches)} entries' ids begin with {prefix!r}: {some}{', ...' * (len(matches) > 8)}")
    book, row = next(iter(matches.values()))
    entry = _parsed(row)
    if isinstance(entry, str):
        raise ConfigError(f"the entry {row.name} is damaged: {entry}; see: p2pfl ledger verify")
    return book, entry


def _read(path: Path) -> Iterator[Row]:
    with open_reader(path) as reader:
        yield from reader.rows()


# ------------------------------------------------------------------------------------------------- showing


def _parsed(row: Row) -> Entry | str:
    """The row's entry, or what is wrong with it."""
    try:
        return parse(row.raw) if isinstance(row.raw, bytes) else "raw is no bytes"
    except Reject as error:
        return str(error)


def _last(rows: list[Row], limit: int) -> list[Row]:
    return rows[-limit:] if limit else rows


def _line(row: Row) -> list[object]:
    entry = _parsed(row)
    if isinstance(entry, str):
        return [row.seq, row.round, "?", f"DAMAGED: {entry}", "?", row.name]
    size = len(entry.raw)
    return [entry.seq, entry.round, entry.kind, summary(entry), size, entry.id.hex()[:_ID_CHARS_SHOWN]]


def _book_json(book: Book, limit: int) -> dict[str, Any]:
    entries = []
    for row in _last(book.rows, limit):
        entry = _parsed(row)
        if isinstance(entry, str):
            entries.append({"name": row.name, "damaged": entry})
        else:
            entries.append({**details(entry), "summary": summary(entry)})
    author = book.author.hex() if book.author else None
    return {
        "node": book.name,
        "path": str(book.path),
        "author": author,
        "num_entries": len(book.rows),
        "entries": entries,
    }


def _result_json(name: str, result: Verification) -> dict[str, Any]:
    return {
        "node": name,
        "path": str(result.path),
        "ok": result.ok,
        "num_entries": result.num_entries,
        "num_receipts": result.num_receipts,
        "num_unknown": result.num_unknown,
        "feeds": [
            {"author": c.author, "incarnation": c.incarnation, "num_entries": c.num_entries, "head": c.head}
            for c in result.chains
        ],
        "problems": [{"where": problem.where, "what": problem.what} for problem in result.problems],
    }


def _print_result(name: str, result: Verification) -> None:
    unknown = f", {result.num_unknown} of kinds this version does not know" if result.num_unknown else ""
    counts = f"{result.num_entries} entries, {result.num_receipts} answers of other sides{unknown}"
    verdict = "ok" if result.ok else f"{len(result.problems)} PROBLEM{'S' * (len(result.problems) > 1)}"
    click.echo(f"{name}: {verdict}: {counts}")
    for chain in result.chains:
        head = chain.head.hex()[:_ID_CHARS_SHOWN]
        click.echo(f"  feed {short(chain.author)}/{chain.incarnation}: {chain.num_entries} entries, head {head}")
    for problem in result.problems:
        click.echo(f"  {problem.where}: {problem.what}")


def _cell(value: object) -> object:
    """Long hex shortened: the whole is in --json and in raw."""
    return f"{value[:8]}.." if isinstance(value, str) and len(value) == 64 else value
