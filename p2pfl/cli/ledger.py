"""`p2pfl ledger`: read and check what nodes recorded and agreed on, and ask one's own node for entries about members.

Changes no store but with `recover`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from p2pfl.cli import (
    ledger_ask,
    ledger_forks,
    ledger_more,
    ledger_prove,
    ledger_rules,
    ledger_scores,
    ledger_stake,
    ledger_state,
)
from p2pfl.cli.ledger_books import node_option, own_rules, run_argument, source_argument
from p2pfl.cli.ledger_find import Found, find_object
from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.cli.waiting import each
from p2pfl.core.ids import short
from p2pfl.errors import ConfigError
from p2pfl.ledger.blocks.genesis import parse_genesis
from p2pfl.ledger.check.verify import Verification, verify_store
from p2pfl.ledger.feeds.describe import details, summary
from p2pfl.ledger.feeds.entry import Entry, check_signature
from p2pfl.ledger.feeds.tally import receipts_of
from p2pfl.ledger.stores.reader import Row
from p2pfl.runs.books import ID_CHARS_SHOWN, Book, Ledger, find, parsed, read_ledger, select


@click.group()
@own_rules
def ledger() -> None:
    """Inspect and verify what a node recorded.

    What nodes agreed on, too; and join, endorse, leave, rotate, stake, unstake, rules propose, rules vote and recover
    ask one's own node for something.

    RUN is a run's folder, a folder of such folders, or a node.db file; URL is a running node's base address. An ID is
    the first hex digits of an entry's or a block's id, #INDEX in the log, or hHEIGHT. Exit codes: 0 done, 1 a check
    failed, 2 unusable input or nobody answers, 3 not final yet.
    """


for command in (
    *(ledger_state.status, ledger_state.balance, ledger_state.validators, ledger_state.peers, ledger_forks.forks),
    *(ledger_state.explain, ledger_prove.checkpoint, ledger_prove.prove, ledger_prove.verify_proof_),
    *(ledger_ask.join, ledger_ask.endorse, ledger_ask.leave, ledger_ask.rotate),
    *(ledger_rules.rules, ledger_stake.stake, ledger_stake.unstake, ledger_scores.audit_scores),
    *(ledger_more.diff, ledger_more.watch, ledger_more.export, ledger_more.recover),
):
    ledger.add_command(command)


@ledger.command()
@source_argument
@node_option
@click.option("--final", is_flag=True, help="The finalized log, in its one order, instead of each node's feed.")
@click.option("--author", metavar="NODE", help="Only entries of this node.")
@click.option("--kind", help="Only entries of this kind.")
@click.option("--round", "round_", type=click.IntRange(min=0), help="Only entries of this round.")
@click.option("--since", type=click.IntRange(min=1), help="With --final: only from this height on.")
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, help="Last entries; 0 for all.")
@json_option
def log(
    run: str,
    node: str | None,
    final: bool,
    author: str | None,
    kind: str | None,
    round_: int | None,
    since: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the entries of each node's feed, or of the finalized log."""
    wanted = _Wanted(author, kind, round_)
    if final or since is not None or run.startswith(("http://", "https://")):
        with read_ledger(run, node) as found:
            _final_log(found, wanted, since or 1, limit, as_json)
        return
    books = select(Path(run), node)
    books = [Book(b.name, b.path, [row for row in b.rows if wanted.row(row, b)], b.key) for b in books]
    if as_json:
        print_json({"nodes": [_book_json(book, limit) for book in books]})
        return
    for book in books:
        shown = _last(book.rows, limit)
        hidden = len(book.rows) - len(shown)
        whose = f" ({short(book.author)})" if book.author else ""
        more = f", the last {len(shown)} of them; --limit 0 shows all" if hidden else ""
        title = f"{book.name}{whose}: {len(book.rows)} {'entry' if len(book.rows) == 1 else 'entries'}{more}"
        click.echo(title)
        print_table(("seq", "round", "kind", "summary", "bytes", "id"), [_line(row) for row in shown])


@ledger.command()
@source_argument
@click.argument("object_id", metavar="ID")
@node_option
@json_option
def show(run: str, object_id: str, node: str | None, as_json: bool) -> None:
    """Show one entry or block whole, whether it is final, and who confirmed it.

    ID is its first hex digits, as many as make it the only one, or #INDEX in the log, or hHEIGHT.
    """
    where, entry, found, confirmed = _look(run, object_id, node)
    if entry is None:
        assert found is not None
        _show_block(found, where, as_json)
        return
    signed = check_signature(entry)
    final = {"index": found.index, "height": found.height} if found is not None else {}
    if as_json:
        value = {**details(entry), "signed": signed, "node": where, "raw": entry.raw.hex()}
        print_json({**value, "final": final or None, "confirmed_by": confirmed})
        return
    fields = details(entry)
    payload = fields.pop("payload")
    for name, value in fields.items():
        click.echo(f"{name:<12} {value}")
    click.echo(f"{'signature':<12} {'good' if signed else 'NOT THE AUTHOR’S'}")
    if final and found is not None and found.index is not None:
        click.echo(f"{'final':<12} leaf #{found.index}, at height {found.height}")
    elif final:
        click.echo(f"{'final':<12} not yet")
    for line in confirmed:
        click.echo(f"{'confirmed by':<12} {line}")
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
@click.option("--genesis", type=click.Path(path_type=Path), help="The genesis to believe, not the store's own.")
@json_option
def verify(run: Path, node: str | None, genesis: Path | None, as_json: bool) -> int:
    """Check every entry, signature, link and receipt again.

    Where there is a finalized ledger, also every block, certificate, tree node and state key, from the genesis on. Exit
    code 1 if anything is wrong.
    """
    try:
        terms = parse_genesis(genesis.read_text("utf-8"), str(genesis)) if genesis is not None else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {genesis}: {getattr(error, 'strerror', 'not text')}") from None
    books = select(run, node, rows=node is not None)
    results = [(book.name, verify_store(book.path, terms)) for book in each(books, "verifying", as_json)]
    if as_json:
        print_json({"ok": all(r.ok for _, r in results), "nodes": [_result_json(name, r) for name, r in results]})
    else:
        for name, result in results:
            _print_result(name, result)
    return 0 if all(result.ok for _, result in results) else 1


# -------------------------------------------------------------------------------------------- what is final


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which entries were asked for."""

    author: str | None
    kind: str | None
    round: int | None

    def row(self, row: Row, book: Book) -> bool:
        author = row.author.hex() if isinstance(row.author, bytes) else ""
        kind = row.kind.decode("utf-8", "replace") if isinstance(row.kind, bytes) else str(row.kind)
        mine = self.author == book.name and row.author == book.author
        return (
            (self.author is None or mine or author.startswith(self.author.lower()))
            and (self.kind is None or kind == self.kind)
            and (self.round is None or row.round == self.round)
        )

    def entry(self, entry: Entry, key: bytes | None) -> bool:
        return (
            (key is None or entry.author == key)
            and (self.kind is None or entry.kind == self.kind)
            and (self.round is None or entry.round == self.round)
        )


def _final_log(found: Ledger, wanted: _Wanted, since: int, limit: int, as_json: bool) -> None:
    key = found.key(wanted.author) if wanted.author is not None else None
    rows = [
        (index, block.height, entry)
        for block in found.view.blocks(since)
        for index, entry in enumerate(found.view.entries(block), block.header.first_index)
        if wanted.entry(entry, key)
    ]
    shown = rows[-limit:] if limit else rows
    if as_json:
        entries = [{"index": i, "height": h, **details(e), "summary": summary(e)} for i, h, e in shown]
        print_json({"node": found.node, "height": found.view.height, "leaves": found.view.log.size, "entries": entries})
        return
    more = f", the last {len(shown)} of them; --limit 0 shows all" if len(shown) < len(rows) else ""
    click.echo(f"{found.node}: final up to height {found.view.height}: {len(rows)} entries{more}")
    columns = ("index", "height", "author", "seq", "round", "kind", "summary", "id")
    print_table(
        columns,
        [
            (i, h, found.name(e.author), e.seq, e.round, e.kind, summary(e), e.id.hex()[:ID_CHARS_SHOWN])
            for i, h, e in shown
        ],
    )


def _look(run: str, text: str, node: str | None) -> tuple[str, Entry | None, Found | None, list[str]]:
    """What `text` names in a run: where it was found, the entry (None for a block), its finality, who confirmed it."""
    remote = run.startswith(("http://", "https://"))
    books = [] if remote else select(Path(run), node)
    try:
        with read_ledger(run, node) as ledger:
            found = find_object(ledger.view, text)
            confirmed = _confirmed(ledger, found.entry) if found.entry else []
            return ledger.node, found.entry, found, confirmed
    except ConfigError:
        if remote or text.startswith(("#", "h")):
            raise
    book, entry = find(books, text)
    return book.name, entry, None, []


def _confirmed(ledger: Ledger, entry: Entry) -> list[str]:
    """Who says in the final log that it received what this "delta.reveal" says was sent."""
    if entry.kind != "delta.reveal":
        return []
    rows = {(row[0], row[1], row[2]): row[3] for row in entry.payload if isinstance(row, tuple)}
    lines = []
    for block in ledger.view.blocks():
        for index, other in enumerate(ledger.view.entries(block), block.header.first_index):
            count = sum(
                row.sender == entry.author and rows.get((other.author, row.epoch, row.seq)) == row.digest
                for row in receipts_of(other)
            )
            if count:
                lines.append(f"{ledger.name(other.author)}: {count} messages, leaf #{index}")
    return lines


def _show_block(found: Found, where: str, as_json: bool) -> None:
    assert found.block is not None
    header = found.block.header
    fields: dict[str, Any] = {"id": header.hash, "index": found.index, **vars(header)}
    fields = {name: _cell_plain(value) for name, value in fields.items() if name not in ("raw", "hash")}
    cut = [{name: _cell_plain(value) for name, value in head._asdict().items()} for head in found.block.cut]
    if as_json:
        print_json({**fields, "node": where, "cut": cut, "num_faults": len(found.block.evidence)})
        return
    for name, value in fields.items():
        click.echo(f"{name:<22} {value}")
    if cut:
        print_table(list(cut[0]), [[_cell(value) for value in row.values()] for row in cut])


def _cell_plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


# ------------------------------------------------------------------------------------------------- showing


def _last(rows: list[Row], limit: int) -> list[Row]:
    return rows[-limit:] if limit else rows


def _line(row: Row) -> list[object]:
    entry = parsed(row)
    if isinstance(entry, str):
        return [row.seq, row.round, "?", f"DAMAGED: {entry}", "?", row.name]
    size = len(entry.raw)
    return [entry.seq, entry.round, entry.kind, summary(entry), size, entry.id.hex()[:ID_CHARS_SHOWN]]


def _book_json(book: Book, limit: int) -> dict[str, Any]:
    entries = []
    for row in _last(book.rows, limit):
        entry = parsed(row)
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
        "height": result.height,
        "num_final": result.num_final,
        "root": result.root.hex() if result.height else None,
        "problems": [{"where": problem.where, "what": problem.what} for problem in result.problems],
    }


def _print_result(name: str, result: Verification) -> None:
    unknown = f", {result.num_unknown} of kinds this version does not know" if result.num_unknown else ""
    counts = f"{result.num_entries} entries, {result.num_receipts} answers of other sides{unknown}"
    verdict = "ok" if result.ok else f"{len(result.problems)} PROBLEM{'S' * (len(result.problems) > 1)}"
    click.echo(f"{name}: {verdict}: {counts}")
    if result.height:
        root = result.root.hex()[:ID_CHARS_SHOWN]
        click.echo(f"  final up to height {result.height}: {result.num_final} entries, root of the log {root}")
    for chain in result.chains:
        head = chain.head.hex()[:ID_CHARS_SHOWN]
        click.echo(f"  feed {short(chain.author)}/{chain.incarnation}: {chain.num_entries} entries, head {head}")
    for problem in result.problems:
        click.echo(f"  {problem.where}: {problem.what}")


def _cell(value: object) -> object:
    """Long hex shortened: the whole is in --json and in raw."""
    return f"{value[:8]}.." if isinstance(value, str) and len(value) == 64 else value
