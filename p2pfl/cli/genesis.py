"""`p2pfl genesis`: collects public keys into the permanent document of a ledger. Knows no secret key and no torch."""

from collections.abc import Iterable
from pathlib import Path

import click

from p2pfl.cli.ledger_books import own_rules
from p2pfl.cli.ledger_rules import numbers
from p2pfl.cli.show import json_option, print_json
from p2pfl.config import load_network
from p2pfl.config.schema import GENESIS_FILE
from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError
from p2pfl.ledger.blocks.genesis import HEIGHTS_MAX, SUPPLY_MAX, Genesis, check_key, meaning
from p2pfl.ledger.feeds.bounds import AUTHORITIES_MAX, VALIDATORS_MAX
from p2pfl.ledger.outcome.rules import make_rule
from p2pfl.wire.keyfile import parse_public

TRIAL_WINDOW = 4
"""Heights of a trial's accounting window: credits are to be seen in a run of a minute."""


def trial_genesis(name: str, keys: Iterable[NodeId]) -> Genesis:
    """All nodes vote, sponsor and are paid, as far as there is room."""
    ordered = tuple(sorted(keys))
    return Genesis(name, ordered[:AUTHORITIES_MAX], ordered[:VALIDATORS_MAX], window=TRIAL_WINDOW)


@click.command()
@click.argument("members", nargs=-1, required=True, metavar="NETWORK.TOML | PUBLIC_KEY...")
@click.option("--name", help="The ledger's name; that of the network document if not given.")
@click.option("--validator", "validators", multiple=True, metavar="NAME|KEY", help="Votes at first; all if not given.")
@click.option("--authority", "authorities", multiple=True, metavar="NAME|KEY", help="Sponsors newcomers; all if none.")
@click.option("--sponsors", default=1, show_default=True, help="Authorities that must endorse a newcomer.")
@click.option("--supply", type=click.IntRange(0, SUPPLY_MAX), default=1_000_000, show_default=True, help="Per window.")
@click.option("--window", type=click.IntRange(1, HEIGHTS_MAX), default=16, show_default=True, help="In heights.")
@click.option("--epoch", type=click.IntRange(1, HEIGHTS_MAX), default=32, show_default=True, help="In heights.")
@click.option("--rule", default="receipts", show_default=True, help="Who is paid for what: p2pfl ledger rules list.")
@own_rules
@click.option("--set", "sets", metavar="KEY=N", multiple=True, help="A parameter of the rule. Repeatable.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=GENESIS_FILE, show_default=True, help="Never overwritten."
)
@json_option
def genesis(
    members: tuple[str, ...],
    name: str | None,
    validators: tuple[str, ...],
    authorities: tuple[str, ...],
    sponsors: int,
    supply: int,
    window: int,
    epoch: int,
    rule: str,
    sets: tuple[str, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Make the permanent document of a ledger, out of a network document or of public keys.

    Every machine makes its own key (p2pfl keys new) and gives away the public half only. The document's digest is the
    network's id: a changed byte is another network. Put it beside network.toml and name it there: [ledger] genesis.
    """
    known, given = _collect(members)
    parameters = numbers(sets)
    make_rule(rule, parameters)
    made = Genesis(
        name or given or "network",
        _chosen(authorities, known, AUTHORITIES_MAX, "authorities"),
        _chosen(validators, known, VALIDATORS_MAX, "validators"),
        sponsors,
        supply,
        window,
        epoch,
        rule,
        tuple(sorted(parameters.items())),
    )
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(made.to_toml())
    except FileExistsError:
        raise ConfigError(f"{out} is there already, and a genesis is permanent: choose another with --out") from None
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}") from None
    voters = made.voters
    if as_json:
        found = {"genesis": str(out), "network": made.digest.hex(), "validators": voters.n, "f": voters.f}
        print_json({**found, "meaning": meaning(voters)})
        return
    click.echo(f"{out}: the genesis of network {made.digest.hex()}")
    click.echo(f"n = {voters.n}, f = {voters.f}: {meaning(voters)}")


def _collect(members: tuple[str, ...]) -> tuple[dict[str, NodeId], str | None]:
    """Keys by name (or by their digits), and the network's name if a document has one."""
    known: dict[str, NodeId] = {}
    name = None
    for member in members:
        if member.endswith(".toml"):
            config = load_network(Path(member))
            name = config.name
            known |= {entry.name: entry.key for entry in config.nodes}
        else:
            known[member] = parse_public(member)
    for label, key in known.items():
        check_key(key, label)
    if not known:
        raise ConfigError("expected at least one node: add one with p2pfl network add, or give public keys")
    return known, name


def _chosen(names: tuple[str, ...], known: dict[str, NodeId], most: int, what: str) -> tuple[NodeId, ...]:
    """The keys of these names; all if there are none. Raises ConfigError."""
    if not names and len(set(known.values())) > most:
        raise ConfigError(f"expected at most {most} {what}, got {len(known)}: choose them one by one")
    keys = {known[name] if name in known else parse_public(name) for name in names} or set(known.values())
    return tuple(sorted(keys))
