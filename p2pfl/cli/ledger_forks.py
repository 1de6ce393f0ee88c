"""`p2pfl ledger forks`: who signed two conflicting things, and the proof. Writes only the file it is told to."""

from pathlib import Path
from typing import Any

import click

from p2pfl.cli.ledger_books import node_option, source_argument
from p2pfl.cli.show import json_option, print_json
from p2pfl.errors import ConfigError, Reject
from p2pfl.ledger.blocks.block import FORK, Fault
from p2pfl.ledger.blocks.faults import Judgement, fork_fault, judge
from p2pfl.ledger.check.accusation import faults_json
from p2pfl.ledger.feeds.entry import parse
from p2pfl.ledger.finality.book import FORK as FORKS
from p2pfl.ledger.finality.book import fork_from
from p2pfl.ledger.finality.journal import FAULT as VOTES
from p2pfl.ledger.finality.journal import stored_fault
from p2pfl.ledger.outcome.contract import FAULTS
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.runs.books import Ledger, read_ledger, write_file


@click.command()
@source_argument
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write the proofs to this file, for verify-proof.")
@node_option
@json_option
def forks(run: str, out: Path | None, node: str | None, as_json: bool) -> None:
    """Show who signed two conflicting things, with the proof: who is convicted, and who will be by the next block.

    A proof needs no log: `verify-proof` checks the file of --out from the genesis alone.
    """
    with read_ledger(run, node) as ledger:
        faults = _faults(ledger)
        found = faults_told(ledger)
        text = faults_json(ledger.view.genesis.digest, [fault for _, fault in faults])
    if out is not None and not found:
        raise ConfigError("nobody is known to have signed two conflicting things: there is nothing to write")
    if out is not None:
        write_file(out, text.encode())
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("nobody was convicted")
    for fork in found:
        when = f"height {fork['height']}" if fork["height"] else "not final yet"
        said = "it is frozen" if fork["height"] else "it will be frozen by a block with this proof"
        click.echo(f"{when}: {fork['name']} signed {fork['what']}, at {fork['where']}; {said}")
        for proof in fork["proofs"]:
            click.echo(f"  {proof['name']}\n    {proof['raw']}")
    if out is not None:
        click.echo(
            f"{out}: {len(found)} proofs; check them with: p2pfl ledger verify-proof {out} --genesis GENESIS_FILE"
        )


def faults_told(ledger: Ledger) -> list[dict[str, Any]]:
    """Who signed two conflicting things, where, and the proofs; height 0: not final yet."""
    return [_fork(ledger, height, fault) for height, fault in _faults(ledger)]


def _faults(ledger: Ledger) -> list[tuple[int, Fault]]:
    faults = [(block.height, fault) for block in ledger.view.blocks() for fault in block.evidence]
    convicted = {judge(fault, ledger.view.genesis.digest).author for _, fault in faults}
    known = [*_known_forks(ledger), *_known_votes(ledger)]
    return faults + [(0, f) for f in known if judge(f, ledger.view.genesis.digest).author not in convicted]


def _known_forks(ledger: Ledger) -> list[Fault]:
    """Those that a node has seen itself; a running node's URL tells only of those that are final."""
    return [fork_fault(fork_from(key, value).evidence) for key, value in _rows(ledger, FORKS)]


def _known_votes(ledger: Ledger) -> list[Fault]:
    """The same of double votes."""
    return [stored_fault(key, value) for key, value in _rows(ledger, VOTES)]


def _rows(ledger: Ledger, space: str) -> list[tuple[bytes, bytes]]:
    if ledger.path is None:
        return []
    with open_reader(ledger.path) as reader:
        cells = [(cell.key, cell.value) for cell in reader.cells(space)]
    return [(key, value) for key, value in cells if isinstance(key, bytes) and isinstance(value, bytes)]


def _fork(ledger: Ledger, height: int, fault: Fault) -> dict[str, Any]:
    judgement = kind, author, _ = judge(fault, ledger.view.genesis.digest)
    proofs = []
    for raw in (fault.first, fault.second):
        try:
            name = parse(raw).name if kind == FORK else "vote"
        except Reject as error:
            name = str(error)
        proofs.append({"name": name, "raw": raw.hex()})
    who = {"height": height, "author": author.hex(), "name": ledger.name(author)}
    return {**who, "what": FAULTS[kind], "where": place_of(judgement), "proofs": proofs}


def place_of(judgement: Judgement) -> str:
    """Where the two things were signed, in words."""
    kind, _, (one, other) = judgement
    return f"incarnation {one}, seq {other}" if kind == FORK else f"epoch {one}, view {other}"
