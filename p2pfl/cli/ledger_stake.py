"""`p2pfl ledger stake, unstake`: credits of one's own that answer for oneself. Asks one's own node."""

from pathlib import Path

import click

from p2pfl.cli.ledger_ask import asking
from p2pfl.cli.ledger_books import node_option, run_argument
from p2pfl.cli.show import json_option
from p2pfl.errors import ConfigError
from p2pfl.ledger.feeds.bounds import RELEASE_WINDOWS, RELEASES_OPEN_MAX
from p2pfl.ledger.feeds.kinds import CREDITS_MAX
from p2pfl.ledger.outcome.stake import releases_of

amount = click.argument("credits_", metavar="CREDITS", type=click.IntRange(1, CREDITS_MAX))


@click.command()
@run_argument
@amount
@node_option
@json_option
def stake(run: Path, credits_: int, node: str | None, as_json: bool) -> None:
    """Lock credits of one's balance: they burn if this node forks its feed or votes twice.

    Under the rule `stake` one must have some to be paid, and lapses burn part of them.
    """
    with asking(run, node) as asked:
        has = asked.state.number("balance", asked.me)
        if credits_ > has:
            raise ConfigError(f"expected at most the balance of {has} credits, got {credits_}")
        asked.put("stake.lock", [credits_], f"stakes {credits_} credits", "It counts when it is final.", as_json)


@click.command()
@run_argument
@amount
@node_option
@json_option
def unstake(run: Path, credits_: int, node: str | None, as_json: bool) -> None:
    """Take credits out of one's stake; they are free eight accounting windows later, and can burn until then."""
    with asking(run, node) as asked:
        has = asked.state.number("stake", asked.me)
        if credits_ > has:
            raise ConfigError(f"expected at most the stake of {has} credits, got {credits_}")
        if len(releases_of(asked.state, asked.me)) == RELEASES_OPEN_MAX:
            raise ConfigError(f"{RELEASES_OPEN_MAX} parts of the stake are on release already: wait until one is free")
        text = f"takes {credits_} credits out of its stake"
        more = f"They are free {RELEASE_WINDOWS} accounting windows after that is final."
        asked.put("stake.release", [credits_], text, more, as_json)
