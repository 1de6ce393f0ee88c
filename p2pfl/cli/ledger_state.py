"""`p2pfl ledger status, balance, validators, peers, explain`: what has been agreed on, and why. Reads only."""

from typing import Any

import click

from p2pfl.cli.ledger_books import node_option, source_argument
from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.cli.waiting import waiting
from p2pfl.core.ids import NodeId, short
from p2pfl.ledger.blocks.genesis import meaning
from p2pfl.ledger.blocks.votes import Validators
from p2pfl.ledger.check.explain import explain as explain_node
from p2pfl.ledger.check.explain import standing, windows_of_round
from p2pfl.ledger.feeds.describe import size_text
from p2pfl.ledger.finality.journal import VOTE
from p2pfl.ledger.outcome.members import validators_of
from p2pfl.ledger.outcome.stake import held
from p2pfl.ledger.outcome.state import State
from p2pfl.ledger.outcome.work import flows
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.runs.books import NOT_FINAL, Ledger, read_ledger

RECENT = 32
"""Heights that `validators` looks back."""


@click.command()
@source_argument
@node_option
@json_option
def status(run: str, node: str | None, as_json: bool) -> None:
    """Show how far the ledger is final, who decides, and what waits."""
    with read_ledger(run, node) as ledger:
        found = _status(ledger)
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' '):<18} {value}")


def _status(ledger: Ledger) -> dict[str, Any]:
    view, genesis = ledger.view, ledger.view.genesis
    state = view.state()
    voters = Validators.of(validators_of(state)) if view.height else genesis.voters
    number, first = _pair(state, "window", (0, 1))
    signed = view.checkpoint(view.height) if view.height else None
    return {
        "network": genesis.digest.hex(),
        "name": genesis.name,
        "node": ledger.node,
        "height": view.height,
        "time_ms": _pair(state, "height", (0, 0))[1],
        "leaves": view.log.size,
        "root": view.log.root().hex(),
        "state_root": state.root().hex(),
        "finality": meaning(voters),
        "validators": voters.n,
        "tolerated": voters.f,
        "quorum": voters.quorum,
        "cosigned_by": len(signed.signers(voters.keys)) if signed else 0,
        "window": number,
        "window_closes_at": first + genesis.window - 1,
        "issued": state.number("issued"),
        **_waiting(ledger),
        "frozen": [ledger.name(parts[0]) for parts, _ in state.items("frozen")],
    }


def _waiting(ledger: Ledger) -> dict[str, Any]:
    """What is not final yet, and how far this node's votes have come: why nothing moves, as far as one node knows."""
    if ledger.path is None:
        return {}
    with open_reader(ledger.path) as reader:
        pending = reader.count_entries() - (ledger.view.log.size - ledger.view.height)
        voted = [cell.key for cell in reader.cells(VOTE) if isinstance(cell.key, bytes)]
    found: dict[str, Any] = {"pending": pending}
    if pending and voted:
        last = max(voted)
        epoch, view = int.from_bytes(last[:8], "big"), int.from_bytes(last[8:16], "big")
        found["last_vote"] = f"epoch {epoch}, view {view}: views pass when their leader is away or a quorum is missing"
    return found


@click.command()
@source_argument
@click.argument("who", metavar="[NODE]", required=False)
@node_option
@json_option
def balance(run: str, who: str | None, node: str | None, as_json: bool) -> None:
    """Show the credits of every member, or of NODE: its name, or the first hex digits of its key."""
    with read_ledger(run, node) as ledger:
        state, needed = ledger.view.state(), ledger.view.genesis.sponsors
        keys = [ledger.key(who)] if who else people(state)
        rows = [
            (
                *(ledger.name(key), state.number("balance", key), held(state, key)),
                standing(state, key, needed),
                key.hex(),
            )
            for key in keys
        ]
        issued, height = state.number("issued"), ledger.view.height
    if as_json:
        fields = ("name", "balance", "stake", "standing", "key")
        rows_json = [dict(zip(fields, row, strict=True)) for row in rows]
        print_json({"height": height, "issued": issued, "nodes": rows_json})
        return
    if any(row[2] for row in rows):
        print_table(("node", "balance", "at stake", "standing"), [row[:4] for row in rows])
    else:
        print_table(("node", "balance", "standing"), [(*row[:2], row[3]) for row in rows])
    click.echo(f"{issued} credits issued up to height {height}")


@click.command()
@source_argument
@node_option
@json_option
def validators(run: str, node: str | None, as_json: bool) -> None:
    """Show who votes, and who signed of late."""
    with read_ledger(run, node) as ledger:
        view = ledger.view
        voters = Validators.of(validators_of(view.state()))
        votes = dict.fromkeys(voters.keys, 0)
        certified = 0
        for height in range(max(1, view.height - RECENT + 1), view.height + 1):
            block, certificate = view.decided(height)
            if certificate is None or block.header.validators_hash != voters.hash:
                continue
            certified += 1
            for key in voters.of_bits(certificate.bitmap):
                votes[key] += 1
        rows = [(ledger.name(key), key.hex(), votes[key]) for key in voters.keys]
    if as_json:
        found = [{"name": name, "key": key, "signed": count} for name, key, count in rows]
        print_json({"meaning": meaning(voters), "certificates": certified, "validators": found})
        return
    click.echo(meaning(voters))
    title = f"signed, of the last {certified} certificates"
    print_table(("validator", "key", title), [(name, f"{key[:16]}..", count) for name, key, count in rows])


@click.command()
@source_argument
@node_option
@json_option
def peers(run: str, node: str | None, as_json: bool) -> None:
    """Show who sent to whom, and what the other side confirmed."""
    with read_ledger(run, node) as ledger:
        rows = [(ledger.name(a), ledger.name(b), flow) for a, b, flow in flows(ledger.view.state())]
    if as_json:
        print_json([{"sender": a, "receiver": b, **flow._asdict()} for a, b, flow in rows])
        return
    columns = ("sender", "receiver", "sent", "confirmed", "unconfirmed", "refused", "size")
    print_table(
        columns,
        [(a, b, f.sent, f.taken, max(0, f.sent - f.taken), f.refused, size_text(f.taken_bytes)) for a, b, f in rows],
    )


@click.command()
@source_argument
@click.argument("who", metavar="NODE")
@click.option("--window", type=click.IntRange(min=0), help="This accounting window; else the last one that closed.")
@click.option("--round", "round_", type=click.IntRange(min=0), help="The windows in which NODE's round R became final.")
@node_option
@json_option
def explain(run: str, who: str, window: int | None, round_: int | None, node: str | None, as_json: bool) -> int:
    """Say in words why NODE got the credits that it got. Exit code 3 if round R is not final yet."""
    with read_ledger(run, node) as ledger:
        key = ledger.key(who)
        asked: list[int | None] = [window]
        if round_ is not None:
            asked = [*windows_of_round(ledger.view, key, round_)]
        with waiting("playing the log again", as_json):
            found = [explain_node(ledger.view, key, number) for number in asked]
        name, state = ledger.name(key), ledger.view.state()
        now = standing(state, key, ledger.view.genesis.sponsors)
        total = state.number("balance", key)
    if as_json:
        windows = [
            {
                "window": e.window,
                "heights": [e.first_height, e.last_height],
                "closed": e.closed,
                "supply": e.supply,
                "credits": e.credits,
                "because": list(e.lines),
            }
            for e in found
        ]
        print_json({"node": key.hex(), "standing": now, "balance": total, "windows": windows})
    else:
        click.echo(f"{name}: {now}; balance {total}")
        for e in found:
            verb = "got" if e.closed else "would get"
            heights = f"heights {e.first_height} to {e.last_height}"
            click.echo(f"window {e.window} ({heights}): {verb} {e.credits} of {e.supply} credits, because:")
            for line in e.lines:
                click.echo(f"  - {line}")
        if not found:
            click.echo(f"nothing that {short(key)} wrote about round {round_} is final yet")
    return 0 if found else NOT_FINAL


def people(state: State) -> list[NodeId]:
    """Everybody who is, or has, something."""
    tags = ("member", "balance", "stake", "release", "frozen")
    return sorted({NodeId(parts[0]) for tag in tags for parts, _ in state.items(tag)})


def _pair(state: State, tag: str, default: tuple[int, int]) -> tuple[int, int]:
    value = state.get(tag) or default
    first, second = value
    assert isinstance(first, int)
    assert isinstance(second, int)
    return first, second
