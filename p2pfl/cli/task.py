"""`p2pfl task`: work that a member buys with its credits. `publish` and `bid` ask one's own node; `show` reads."""

import secrets
from pathlib import Path
from typing import Any

import click

from p2pfl.cli.ledger_ask import Asked, asking
from p2pfl.cli.ledger_books import node_option, own_rules, run_argument, source_argument
from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.core.ids import short
from p2pfl.errors import ConfigError
from p2pfl.ledger.check.stories import Story, tasks_told
from p2pfl.ledger.feeds.kinds import CREDITS_MAX, TASK_WINDOWS_MAX, UNITS_MAX
from p2pfl.ledger.feeds.statements import seal
from p2pfl.ledger.outcome.members import granted, is_worker, present
from p2pfl.ledger.outcome.rules.procurement import TASK_RULES, why, why_not
from p2pfl.ledger.outcome.state import State
from p2pfl.ledger.outcome.tasks import Task, tasks_of, winners_of
from p2pfl.runs.books import Ledger, read_ledger

credits = click.IntRange(1, CREDITS_MAX)
windows = click.IntRange(1, TASK_WINDOWS_MAX)

SHOWN = ("id", "title", "rule", "budget", "phase", "until_window", "bids")


@click.group()
@own_rules
def task() -> None:
    """Buy work with credits, bid for it, and see who got it."""


@task.command()
@run_argument
@click.option("--title", required=True, help="What it is for; at most 96 characters.")
@click.option("--budget", type=credits, required=True, help="Credits put aside; what is not earned comes back.")
@click.option("--price", type=credits, help="The most that a unit may cost; with --rule posted what it costs.")
@click.option("--rule", type=click.Choice(list(TASK_RULES)), default="auction", show_default=True, help="Who picks.")
@click.option("--bidding", type=windows, default=1, show_default=True, help="Accounting windows for sealed bids.")
@click.option("--revealing", type=windows, default=1, show_default=True, help="Windows for opening them.")
@click.option("--working", type=windows, default=4, show_default=True, help="Windows whose work is paid.")
@node_option
@json_option
def publish(
    run: Path,
    title: str,
    budget: int,
    price: int | None,
    rule: str,
    bidding: int,
    revealing: int,
    working: int,
    node: str | None,
    as_json: bool,
) -> None:
    """Put credits of one's own aside for work.

    RUN is the publisher's own run folder. A unit of work is a message of learning that both ends confirm. Phases
    begin with the accounting window after the one in which this becomes final. docs/contracts.md says who is picked
    and paid what.
    """
    with asking(run, node) as asked:
        has = asked.state.number("balance", asked.me)
        if not granted(asked.state, asked.me):
            raise ConfigError(f"{asked.name} is not a member of this ledger; see: p2pfl ledger join")
        if budget > has:
            raise ConfigError(f"--budget: expected at most the balance of {has} credits, got {budget}")
        if rule == "posted" and price is None:
            raise ConfigError("--rule posted: expected --price, the credits that a unit is paid")
        price = budget if price is None else price
        if price > budget:
            raise ConfigError(f"--price: expected at most the budget of {budget} credits, got {price}")
        payload = [title, rule, budget, price, bidding, revealing, working]
        text = f"puts {budget} credits aside for {title!r}"
        asked.put("task.publish", payload, text, f"Its id is then in: p2pfl task show {run}", as_json)


@task.command()
@run_argument
@click.argument("task", metavar="TASK")
@click.option("--units", type=click.IntRange(1, UNITS_MAX), required=True, help="Units of work that one would do.")
@click.option("--ask", type=credits, required=True, help="Credits for all of them. Best: what they cost oneself.")
@node_option
@json_option
def bid(run: Path, task: str, units: int, ask: int, node: str | None, as_json: bool) -> None:
    """Bid for a task, sealed: one's node opens the bid by itself when bidding is over.

    TASK is the first hex digits of its id. Keep the node running until then, or start it again in time: a bid that is
    never opened is no bid. Bidding again replaces the bid. In an auction asking for more than it costs only loses:
    whoever is picked is paid the most that it could have asked.
    """
    with asking(run, node) as asked:
        id_, found = _find(asked.state, task)
        _check_bid(asked, id_, found, units, ask)
        salt = secrets.token_bytes(32)
        for request in asked.spool.waiting()[0]:  # of a bid before this one: it would not fit the new seal
            if request.kind in ("bid.commit", "bid.reveal") and request.payload[0] == id_:
                asked.spool.done(request.name)
        asked.spool.put("bid.reveal", [id_, units, ask, salt])
        payload = [id_, seal(asked.spool.net, id_, asked.me, units, ask, salt)]
        text = f"bids {units} units for {ask} credits for the task {short(id_)} ({found.title}), sealed"
        more = f"It opens the bid when window {found.bidding} has closed."
        asked.put("bid.commit", payload, text, more, as_json)


@task.command()
@source_argument
@click.argument("task", metavar="[TASK]", required=False)
@click.option("--all", "everything", is_flag=True, help="Closed ones too; plays the whole log again.")
@node_option
@json_option
def show(run: str, task: str | None, everything: bool, node: str | None, as_json: bool) -> None:
    """Show open tasks, or all that is known of one: bids, who was picked, who was paid."""
    with read_ledger(run, node) as ledger:
        state = ledger.view.state()
        if task is not None:
            rows = [_whole(ledger, state, _told(ledger, task))]
        elif everything:
            rows = [_row(ledger, state, story.id, story.task) for story in tasks_told(ledger.view).values()]
        else:
            rows = [_row(ledger, state, id_, found) for id_, found in tasks_of(state)]
    if as_json:
        print_json(rows[0] if task is not None else rows)
    elif task is not None:
        _print_whole(rows[0])
    elif rows:
        print_table([name.replace("_", " ") for name in SHOWN], [[_short(row, name) for name in SHOWN] for row in rows])
    else:
        click.echo("no task is open; closed ones: --all")


# ------------------------------------------------------------------------------------------------------ leaves


def _find(state: State, text: str) -> tuple[bytes, Task]:
    """The open task whose id begins so. Raises ConfigError."""
    found = [(id_, found) for id_, found in tasks_of(state) if id_.hex().startswith(text.lower())]
    if len(found) != 1:
        there = ", ".join(f"{short(id_)} ({found.title})" for id_, found in list(tasks_of(state))[:8]) or "none"
        raise ConfigError(f"expected one open task whose id begins with {text!r}, found {len(found)}; open: {there}")
    return found[0]


def _check_bid(asked: Asked, id_: bytes, found: Task, units: int, ask: int) -> None:
    """Refuse what would be in vain, as far as this node's ledger knows."""
    phase = found.phase(_window(asked.state))
    if phase != "bidding":
        raise ConfigError(f"the task {short(id_)} is {phase}: bids were taken until window {found.bidding} closed")
    if not is_worker(asked.state, asked.me):
        raise ConfigError(f"{asked.name} is no worker in this ledger; see: p2pfl ledger join")
    if present(asked.state, found.publisher) == asked.me:
        raise ConfigError(f"{asked.name} has published the task {short(id_)} itself")
    if ask > found.budget:
        raise ConfigError(f"--ask: expected at most the task's budget of {found.budget} credits, got {ask}")
    if ask > found.price * units:
        raise ConfigError(
            f"--ask: the task pays at most {found.price} credits a unit, {found.price * units} for {units}; got {ask}"
        )


def _told(ledger: Ledger, text: str) -> Story:
    stories = [story for id_, story in tasks_told(ledger.view).items() if id_.hex().startswith(text.lower())]
    if len(stories) != 1:
        raise ConfigError(f"expected one task whose id begins with {text!r}, found {len(stories)}; see --all")
    return stories[0]


def _row(ledger: Ledger, state: State, id_: bytes, found: Task) -> dict[str, Any]:
    phase = found.phase(_window(state))
    return {
        "id": id_.hex(),
        "title": found.title,
        "rule": found.rule,
        "budget": found.budget,
        "price": found.price,
        "phase": phase,
        "until_window": getattr(found, phase, found.working),
        "bids": found.num_bids,
        "by": ledger.name(found.publisher),
    }


def _whole(ledger: Ledger, state: State, story: Story) -> dict[str, Any]:
    """All about one task; bids only when they are open to all."""
    found = _row(ledger, state, story.id, story.task) | {"published_at_height": story.published}
    won = story.paid.rows if story.paid else winners_of(state, story.id)
    people: list[dict[str, Any]] = []
    if story.picked is not None:
        terms = (story.task.rule, story.task.budget, story.task.price)
        for node, offer in story.picked.bids.items():
            award = story.picked.awards.get(node)
            because = why(story.task.rule, award, offer) if award else why_not(*terms, story.picked.bids, node)
            people.append(
                {
                    "node": ledger.name(node),
                    "units": offer.units,
                    "ask": offer.ask,
                    "credits": award.credits if award else 0,
                    "delivered": won[node].delivered if node in won else 0,
                    "paid": story.paid.payouts.get(node, 0) if story.paid else None,
                    "because": because,
                }
            )
        found["never_opened"] = [ledger.name(node) for node in story.picked.withheld]
    return found | {"offers": people, "returned": story.paid.returned if story.paid else None}


def _print_whole(found: dict[str, Any]) -> None:
    for name in ("id", "title", "by", "rule", "budget", "price", "phase", "until_window", "bids", "returned"):
        if found[name] is not None:
            click.echo(f"{name.replace('_', ' '):<14} {found[name]}")
    for name in found.get("never_opened", ()):
        click.echo(f"{name} sealed a bid and never opened it")
    columns = ("node", "units", "ask", "credits", "delivered", "paid")
    if found["offers"]:
        print_table(columns, [["" if row[name] is None else row[name] for name in columns] for row in found["offers"]])
    for row in found["offers"]:
        click.echo(f"  - {row['node']}: {row['because']}")


def _short(row: dict[str, Any], name: str) -> object:
    return row[name][:10] if name == "id" else row[name]


def _window(state: State) -> int:
    number = (state.get("window") or (0, 1))[0]
    assert isinstance(number, int)
    return number
