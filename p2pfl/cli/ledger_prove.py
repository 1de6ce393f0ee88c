"""`p2pfl ledger checkpoint, prove, verify-proof`: what others can check without trusting this node."""

from pathlib import Path
from typing import Any

import click

from p2pfl.cli.ledger_books import node_option, source_argument
from p2pfl.cli.ledger_find import find_object
from p2pfl.cli.ledger_forks import place_of
from p2pfl.cli.show import json_option, print_json
from p2pfl.core.ids import short
from p2pfl.errors import ConfigError, Reject
from p2pfl.ledger.blocks.checkpoint import CHECKPOINT_BYTES_MAX, Signed, parse_checkpoint
from p2pfl.ledger.blocks.genesis import Genesis, parse_genesis
from p2pfl.ledger.check.accusation import is_faults, judge_all, parse_faults
from p2pfl.ledger.check.proofs import (
    PROOF_BYTES_MAX,
    BadProof,
    Proof,
    Proven,
    checkpoint_for,
    parse_proof,
    prove_growth,
    prove_leaf,
    prove_state,
    verify_proof,
)
from p2pfl.ledger.feeds.describe import details, summary
from p2pfl.ledger.outcome.contract import FAULTS
from p2pfl.ledger.outcome.state import name_of
from p2pfl.runs.books import Ledger, read_ledger, write_file

out_option = click.option("-o", "--out", type=click.Path(path_type=Path), help="Write it to this file.")


@click.command()
@source_argument
@click.option("--height", type=click.IntRange(min=1), help="After this height; else the last one that is cosigned.")
@out_option
@node_option
@json_option
def checkpoint(run: str, height: int | None, out: Path | None, node: str | None, as_json: bool) -> None:
    """Print the checkpoint of the log: network, size, root, and the validators' signatures."""
    with read_ledger(run, node) as ledger:
        at, signed = checkpoint_for(ledger.view, 0, height)
    if out is not None:
        write_file(out, signed.note)
    if as_json:
        point = signed.checkpoint
        signers = [c.validator.hex() for c in signed.cosignatures]
        print_json({"height": at, "network": point.net, "size": point.size, "root": point.root, "signers": signers})
    elif out is None:
        click.echo(signed.note.decode(), nl=False)
    else:
        click.echo(f"{out}: the log of {signed.checkpoint.size} leaves, after height {at}")


@click.command()
@source_argument
@click.argument("object_id", metavar="[ID]", required=False)
@click.option("--balance", "who", metavar="NODE", help="Prove the balance of NODE instead, after the last height.")
@click.option("--since", type=click.Path(path_type=Path), help="Prove that the log continues this checkpoint.")
@click.option("--height", type=click.IntRange(min=1), help="Against the checkpoint after this height.")
@out_option
@node_option
def prove(
    run: str,
    object_id: str | None,
    who: str | None,
    since: Path | None,
    height: int | None,
    out: Path | None,
    node: str | None,
) -> None:
    """Make a proof that the entry or block ID is final. It is checked with `verify-proof`, without this node.

    ID is its first hex digits, or #INDEX in the log, or hHEIGHT for a block.
    """
    if sum(value is not None for value in (object_id, who, since)) != 1:
        raise ConfigError("expected one of ID, --balance NODE and --since CHECKPOINT")
    with read_ledger(run, node) as ledger:
        proof = _proof(ledger, object_id, who, since, height)
    text = proof.to_json()
    if out is None:
        click.echo(text, nl=False)
    else:
        write_file(out, text.encode())
        point = proof.checkpoint.checkpoint
        click.echo(f"{out}: a proof against the log of {point.size} leaves, {len(text)} bytes; check it with")
        click.echo(f"  p2pfl ledger verify-proof {out} --genesis GENESIS_FILE")


def _proof(ledger: Ledger, object_id: str | None, who: str | None, since: Path | None, height: int | None) -> Proof:
    if who is not None:
        return prove_state(ledger.view, "balance", ledger.key(who))
    if since is not None:
        return prove_growth(ledger.view, _checkpoint_in(since).checkpoint)
    assert object_id is not None
    found = find_object(ledger.view, object_id)
    if found.index is None:
        raise ConfigError(f"{found.name} is not final yet: there is nothing to prove it by")
    return prove_leaf(ledger.view, found.index, height)


@click.command("verify-proof")
@click.argument("path", metavar="PROOF", type=click.Path(path_type=Path))
@click.option("--genesis", type=click.Path(path_type=Path), required=True, help="The network's genesis document.")
@click.option("--checkpoint", "pinned", type=click.Path(path_type=Path), help="Against this checkpoint, not its own.")
@json_option
def verify_proof_(path: Path, genesis: Path, pinned: Path | None, as_json: bool) -> int:
    """Check a proof from the genesis file alone: no node, no network. Exit code 1 if it does not hold.

    PROOF is a file of `prove`, or of `forks --out`, which needs no checkpoint.
    """
    terms = _genesis_in(genesis)
    raw = _read(path, PROOF_BYTES_MAX)
    if is_faults(raw):
        return _verify_faults(raw, path, terms, as_json)
    proof = parse_proof(raw, str(path))
    try:
        proven = verify_proof(proof, terms, None if pinned is None else _checkpoint_in(pinned))
    except BadProof as error:
        if as_json:
            print_json({"ok": False, "reason": str(error)})
        else:
            click.echo(f"NOT PROVEN: {error}")
        return 1
    if as_json:
        print_json({"ok": True, **_proven_json(proven)})
        return 0
    point = proven.checkpoint
    click.echo(f"PROVEN: {_words(proven)}")
    signers = f"{len(proven.signers)} of {proven.num_validators} validators signed"
    click.echo(f"  in the log of {point.size} leaves of network {short(point.net)}, which {signers}")
    return 0


def _verify_faults(raw: bytes, path: Path, terms: Genesis, as_json: bool) -> int:
    """A file of `p2pfl ledger forks --out`: each of its proofs stands by itself."""
    net, faults = parse_faults(raw, str(path))
    try:
        found = judge_all(net, faults, terms.digest)
    except Reject as error:
        if as_json:
            print_json({"ok": False, "reason": str(error)})
        else:
            click.echo(f"NOT PROVEN: {error}")
        return 1
    rows = [{"author": j.author.hex(), "what": FAULTS[j.kind], "where": place_of(j)} for j in found]
    if as_json:
        print_json({"ok": True, "faults": rows})
    for row in rows if not as_json else ():
        click.echo(f"PROVEN: the key {row['author']} signed {row['what']}, at {row['where']}")
    return 0


def _words(proven: Proven) -> str:
    if proven.old is not None:
        return f"the log continues that of {proven.old.size} leaves: nothing in it was changed"
    if proven.entry is not None:
        return f"leaf {proven.index} is {proven.entry.name}, {proven.entry.kind}: {summary(proven.entry)}"
    assert proven.header is not None
    if not proven.key:
        return f"leaf {proven.index} is the header of {proven.header.name}"
    value = "nothing" if proven.value is None else ", ".join(map(str, proven.value))
    return f"{name_of(proven.key)} is {value} after {proven.header.name}"


def _proven_json(proven: Proven) -> dict[str, Any]:
    point = proven.checkpoint
    found: dict[str, Any] = {"what": _words(proven), "network": point.net, "size": point.size, "root": point.root}
    found["signers"] = [key.hex() for key in proven.signers]
    if proven.entry is not None:
        found |= {"index": proven.index, "entry": details(proven.entry)}
    if proven.header is not None:
        found |= {"index": proven.index, "height": proven.header.height}
    if proven.key:
        found |= {"key": name_of(proven.key), "value": proven.value}
    return found


def _genesis_in(path: Path) -> Genesis:
    return parse_genesis(_read(path, CHECKPOINT_BYTES_MAX).decode("utf-8", "replace"), str(path))


def _checkpoint_in(path: Path) -> Signed:
    try:
        return parse_checkpoint(_read(path, CHECKPOINT_BYTES_MAX))
    except Reject as error:
        raise ConfigError(f"{path}: expected a checkpoint: {error}") from None


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > most:
        raise ConfigError(f"{path}: expected at most {most} bytes")
    return data
