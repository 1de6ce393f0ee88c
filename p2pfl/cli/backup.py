"""`p2pfl backup, restore, migrate`: a node's store, kept, put back, and brought to a newer format."""

import tomllib
from pathlib import Path
from typing import Any

import click

from p2pfl.cli.ledger_books import node_option, run_argument
from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.cli.waiting import each, waiting
from p2pfl.config.schema import NODE_FILE
from p2pfl.core.ids import short
from p2pfl.errors import ConfigError
from p2pfl.ledger.check.verify import Verification
from p2pfl.ledger.stores.migrations import FORMAT
from p2pfl.runs.books import CONFIG_NAME, names_near, stores


@click.command()
@run_argument
@click.option("--out", "out", type=click.Path(path_type=Path), required=True, help="The new file.")
@node_option
@json_option
def backup(run: Path, out: Path, node: str | None, as_json: bool) -> None:
    """Copy a node's store as it is at this moment, while the node runs.

    RUN is a run's folder or its node.db. The copy is one file, verified whole, and every `p2pfl ledger` command reads
    it. Keys and documents are not in it: keep them once, elsewhere.
    """
    from p2pfl.runs.backup import back_up

    found = stores(run)
    named = [path for name, path in found if node in (None, name)]
    if len(named) != 1:
        there = ", ".join(name for name, _ in found)
        raise ConfigError(f"{run}: expected one node's store, found {len(named)} of {there}: choose it with --node")
    with waiting("copying and verifying", as_json):
        made = back_up(named[0], out)
    if as_json:
        print_json({"backup": str(out), "bytes": made.size_bytes, **_told(made.found)})
    else:
        click.echo(f"{out}: {made.size_bytes} bytes, {made.found.num_entries} entries, verified")


@click.command()
@click.argument("backup_file", metavar="BACKUP", type=click.Path(path_type=Path))
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--node", help="Whose store it is, if it holds several feeds: a name, or the first hex digits of a key.")
@click.option("--as-it-was", is_flag=True, help="The node has signed nothing since the backup was taken.")
@json_option
def restore(backup_file: Path, run: Path, node: str | None, as_it_was: bool, as_json: bool) -> None:
    """Put a backup back as the store of a run folder.

    RUN is the folder that node.toml's `out` names; it must not hold a store. What the node signed after the backup is
    not in it, so it is marked as `p2pfl ledger recover` does: at its next start with --resume the node asks the others
    where its feed ended, and goes on in a new incarnation. --as-it-was leaves the mark out; if the node did sign
    something since, going on would be a fork that freezes it.
    """
    from p2pfl.runs.backup import restore as put_back

    with waiting("verifying and putting back", as_json):
        made = put_back(backup_file, run, _key_of(node, backup_file, run), as_it_was)
    if as_json:
        print_json({"store": str(made.path), "recover": not as_it_was, **_told(made.found)})
        return
    click.echo(f"{made.path}: {made.found.num_entries} entries, verified. Next: p2pfl node --resume")
    if not as_it_was:
        click.echo("It asks the others where its feed ended before it writes; see docs/operations.md")


@click.command()
@run_argument
@click.option("--check", is_flag=True, help="Only say what would be done. Exit code 1 if anything.")
@json_option
def migrate(run: Path, check: bool, as_json: bool) -> int:
    """Bring the stores of a run to the format of this version.

    The nodes must be stopped. Each old file is kept beside the new one (node.v1.db), and both are verified. A node does
    the same when it starts, without keeping the old file. A store of a newer version is refused.
    """
    from p2pfl.runs.migrate import migrate as bring
    from p2pfl.runs.migrate import planned

    done = [planned(path) if check else bring(path) for _, path in each(stores(run), "bringing up to date", as_json)]
    if as_json:
        print_json([{"store": str(m.store), "from": m.before, "to": FORMAT, "kept": _text(m.kept)} for m in done])
    else:
        rows = [(str(m.store), m.before, FORMAT, "; ".join(m.adds) or "nothing", m.kept or "") for m in done]
        print_table(("store", "from", "to", "adds", "old file"), rows)
    return 1 if check and any(m.adds for m in done) else 0


def _key_of(node: str | None, backup_file: Path, run: Path) -> bytes | None:
    """The key that the name or digits mean: by the documents near the run, or among the feeds of the backup."""
    from p2pfl.ledger.stores.reader import open_reader

    name, known = node or _name_near(run), names_near(run)
    if name in known:
        return known[name]
    if node is None:
        return None
    with open_reader(backup_file) as reader:
        authors = {row.author for row in reader.rows() if isinstance(row.author, bytes)}
    fitting = [author for author in authors if author.hex().startswith(node.lower())]
    if len(fitting) != 1:
        there = ", ".join(sorted(short(author) for author in authors))
        raise ConfigError(f"{backup_file}: expected one feed of {node!r}, found {len(fitting)} among {there}")
    return fitting[0]


def _name_near(run: Path) -> str:
    """Whose folder it is, by the configuration of a former run in it, or the node's document beside it; else empty."""
    for path in (run / CONFIG_NAME, run.resolve().parent / NODE_FILE):
        try:
            return str(tomllib.loads(path.read_text("utf-8"))["name"])
        except (OSError, ValueError, KeyError):
            continue
    return ""


def _told(found: Verification) -> dict[str, Any]:
    feeds = [{"author": c.author, "incarnation": c.incarnation, "entries": c.num_entries} for c in found.chains]
    return {"entries": found.num_entries, "height": found.height, "feeds": feeds}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
