"""`p2pfl ledger rules`: which rules there are, which is in force, what another would have paid; and voting for it.

Reads; `propose` and `vote` ask one's own node for an entry.
"""

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from p2pfl.cli.ledger_ask import asking
from p2pfl.cli.ledger_books import node_option, run_argument, source_argument
from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.core.ids import short
from p2pfl.errors import ConfigError
from p2pfl.learn.names import call, resolve
from p2pfl.ledger.check.laws import check_rule
from p2pfl.ledger.check.stories import rules_told
from p2pfl.ledger.check.suppose import Supposition, suppose
from p2pfl.ledger.feeds.describe import rule_text
from p2pfl.ledger.outcome.members import present, validators_of
from p2pfl.ledger.outcome.rulebook import InForce, Proposed, in_force, proposals, supporters
from p2pfl.ledger.outcome.rules import RULES, Rule, make_rule
from p2pfl.ledger.outcome.state import State
from p2pfl.runs.books import Ledger, read_ledger

Wanted = tuple[str, dict[str, int]]


def rule_options(command: Any) -> Any:
    """How a rule is named: by its name and parameters, or in a file."""
    for option in (
        click.option("--rule", "name", metavar="NAME", help="The rule's name; see: p2pfl ledger rules list."),
        click.option("--set", "sets", metavar="KEY=N", multiple=True, help="A parameter, a whole number. Repeatable."),
        click.option(
            "--file",
            "file",
            type=click.Path(path_type=Path),
            help='TOML instead: rule = "NAME", and a table [parameters].',
        ),
    ):
        command = option(command)
    return command


@click.group()
def rules() -> None:
    """See which rule pays, try another one, and vote for it."""


@rules.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Show the rules that there are, and their parameters."""
    rows = []
    for name in RULES:
        rule = make_rule(name, {})
        rows.append((name, _parameters(rule), _says(rule)))
    if as_json:
        print_json([{"rule": name, "parameters": values, "says": says} for name, values, says in rows])
        return
    print_table(
        ("rule", "parameters", "what they are"),
        [(name, ", ".join(f"{k} = {v}" for k, v in values.items()), says) for name, values, says in rows],
    )


@rules.command()
@source_argument
@click.option("--history", is_flag=True, help="Every rule that has been in force; plays the whole log again.")
@node_option
@json_option
def show(run: str, history: bool, node: str | None, as_json: bool) -> None:
    """Show the rule in force and what is proposed."""
    with read_ledger(run, node) as ledger:
        state = ledger.view.state()
        now = _in_force(ledger, state)
        rows = [_proposal(ledger, state, id_, proposed) for id_, proposed in proposals(state)]
        told = rules_told(ledger.view) if history else []
    if as_json:
        print_json({"in_force": _told(now), "proposals": rows, "history": [_told(each) for each in told]})
        return
    click.echo(f"in force since height {now.first_height}: {rule_text(now.name, now.parameters)}")
    for each in told:
        click.echo(f"  from height {each.first_height}: {rule_text(each.name, each.parameters)}")
    columns = ("proposal", "rule", "from height", "for", "needed", "stands")
    if rows:
        print_table(columns, [tuple(row[name.replace(" ", "_")] for name in columns) for row in rows])
    else:
        click.echo("nothing is proposed")


@rules.command()
@click.argument("run", metavar="[RUN|URL]", required=False)
@rule_options
@click.option("--replay", is_flag=True, help="Play the ledger of RUN again under this rule: who gains, who loses.")
@click.option("--window", type=click.IntRange(min=0), help="With --replay: this accounting window only.")
@click.option("--why", metavar="NODE", help="With --replay: say in words what NODE would have got in the window.")
@node_option
@json_option
def test(
    run: str | None,
    name: str | None,
    sets: tuple[str, ...],
    file: Path | None,
    replay: bool,
    window: int | None,
    why: str | None,
    node: str | None,
    as_json: bool,
) -> int:
    """Try a rule: whether it keeps the laws, and what it would have paid.

    NAME may be a rule of your own here: module:attribute, or file.py:attribute (it is executed). Exit code 1 if it
    breaks a law. Nothing is changed.
    """
    rule = _rule(name, sets, file)
    try:
        check_rule(rule)
    except AssertionError as broken:
        if as_json:
            print_json({"rule": rule.name, "keeps_laws": False, "broken": str(broken)})
        else:
            click.echo(f"{rule.name}: {broken}")
        return 1
    if not replay:
        text = f"{rule_text(rule.name, tuple(_parameters(rule).items()))}: keeps the laws"
        print_json({"rule": rule.name, "keeps_laws": True}) if as_json else click.echo(text)
        return 0
    if run is None:
        raise ConfigError("--replay: expected RUN or URL, a ledger to play again")
    with read_ledger(run, node) as ledger:
        _print_replay(ledger, rule, suppose(ledger.view, rule), window, why, as_json)
    return 0


@rules.command()
@run_argument
@rule_options
@click.option("--height", type=click.IntRange(min=1), required=True, help="In force from here on, if adopted by then.")
@node_option
@json_option
def propose(
    run: Path, name: str | None, sets: tuple[str, ...], file: Path | None, height: int, node: str | None, as_json: bool
) -> None:
    """Propose a rule, as a validator. It is a vote for it.

    If a quorum of validators is for it before HEIGHT, it pays the windows that begin at HEIGHT or later. Try it first:
    p2pfl ledger rules test RUN --replay.
    """
    wanted, parameters = _wanted(name, sets, file)
    make_rule(wanted, parameters)
    with asking(run, node) as asked:
        _check_votes(asked.ledger, asked.state, asked.me, asked.name)
        if height <= asked.ledger.view.height + 1:
            raise ConfigError(f"--height: expected more than {asked.ledger.view.height + 1}, got {height}")
        if any(proposed.proposer == asked.me for _, proposed in proposals(asked.state)):
            raise ConfigError(f"{asked.name} has a proposal open; see: p2pfl ledger rules show {run}")
        rows = sorted(parameters.items())
        text = f"wants the rule {rule_text(wanted, tuple(rows))} from height {height} on"
        more = f"Other validators then run: p2pfl ledger rules vote RUN ID; see: p2pfl ledger rules show {run}"
        asked.put("rule.propose", [wanted, rows, height], text, more, as_json)


@rules.command()
@run_argument
@click.argument("proposal", metavar="ID")
@click.option("--against", is_flag=True, help="Be for it no longer.")
@node_option
@json_option
def vote(run: Path, proposal: str, against: bool, node: str | None, as_json: bool) -> None:
    """Be for a proposed rule, as a validator. ID: the first hex digits of the proposal."""
    with asking(run, node) as asked:
        _check_votes(asked.ledger, asked.state, asked.me, asked.name)
        id_, proposed = _find(asked.state, proposal)
        if proposed.adopted:
            raise ConfigError(f"the proposal {short(id_)} is adopted already: it is in force from {proposed.height} on")
        if (asked.me in proposed.voters) is not against:
            said = "is not for" if against else "is for"
            raise ConfigError(f"{asked.name} {said} the proposal {short(id_)} already")
        if not against:
            make_rule(proposed.name, dict(proposed.parameters))  # do not vote for what this version cannot do
        text = f"is {'no longer for' if against else 'for'} {rule_text(proposed.name, proposed.parameters)}"
        asked.put("rule.vote", [id_, int(not against)], text, "It counts when it is final.", as_json)


# ------------------------------------------------------------------------------------------------ naming a rule


def _wanted(name: str | None, sets: tuple[str, ...], file: Path | None) -> Wanted:
    """Name and parameters, from the options or a file. Raises ConfigError."""
    if (name is None) is (file is None):
        raise ConfigError("expected a rule: either --rule NAME or --file FILE")
    parameters: dict[str, int] = {}
    if file is not None:
        name, parameters = _read(file)
    assert name is not None
    return name, parameters | numbers(sets)


def numbers(sets: tuple[str, ...]) -> dict[str, int]:
    """What `--set KEY=N` says. Raises ConfigError."""
    found: dict[str, int] = {}
    for text in sets:
        key, _, value = text.partition("=")
        if not value.strip().isdecimal():
            raise ConfigError(f"--set {text}: expected KEY=N with a whole number")
        found[key.strip()] = int(value)
    return found


def _read(file: Path) -> Wanted:
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: expected a TOML document: {error}") from None
    parameters = table.pop("parameters", {})
    name = table.pop("rule", None)
    if not isinstance(name, str) or table or not isinstance(parameters, dict):
        more = f", got {', '.join(sorted(table))}" if table else ""
        raise ConfigError(f'{file}: expected rule = "NAME" and a table [parameters], and no more{more}')
    return name, dict(parameters)


def _rule(name: str | None, sets: tuple[str, ...], file: Path | None) -> Rule:
    """A built-in rule, or the user's own."""
    wanted, parameters = _wanted(name, sets, file)
    if ":" not in wanted:
        return make_rule(wanted, parameters)
    rule: Rule = call(resolve(wanted, Path()), parameters, wanted)
    return rule


def _parameters(rule: Rule) -> dict[str, int]:
    found: dict[str, int] = asdict(rule)  # type: ignore[call-overload]  # a dataclass, by the protocol
    return found


def _says(rule: Rule) -> str:
    return " ".join((type(rule).__doc__ or "").split())


def _find(state: State, text: str) -> tuple[bytes, Proposed]:
    found = [(id_, proposed) for id_, proposed in proposals(state) if id_.hex().startswith(text.lower())]
    if len(found) != 1:
        there = ", ".join(short(id_) for id_, _ in proposals(state)) or "none"
        raise ConfigError(
            f"expected one open proposal whose id begins with {text!r}, found {len(found)}; open: {there}"
        )
    return found[0]


def _check_votes(ledger: Ledger, state: State, me: bytes, name: str) -> None:
    voting = {present(state, validator) for validator in validators_of(state)}
    if me not in voting:
        some = ", ".join(ledger.name(key) for key in sorted(voting)[:8])
        raise ConfigError(f"{name} is no validator in this epoch; validators are: {some}")


# ------------------------------------------------------------------------------------------------ showing


def _in_force(ledger: Ledger, state: State) -> InForce:
    genesis = ledger.view.genesis
    return in_force(state) or InForce(genesis.rule, genesis.parameters, 1)


def _told(rule: InForce) -> dict[str, Any]:
    return {"rule": rule.name, "parameters": dict(rule.parameters), "first_height": rule.first_height}


def _proposal(ledger: Ledger, state: State, id_: bytes, proposed: Proposed) -> dict[str, Any]:
    support, needed = supporters(state, proposed)
    return {
        "proposal": short(id_),
        "id": id_.hex(),
        "rule": rule_text(proposed.name, proposed.parameters),
        "by": ledger.name(proposed.proposer),
        "from_height": proposed.height,
        "for": len(support),
        "needed": needed,
        "stands": "adopted" if proposed.adopted else "open",
    }


def _print_replay(
    ledger: Ledger, rule: Rule, found: Supposition, window: int | None, why: str | None, as_json: bool
) -> None:
    """Who was paid what, and would have been."""
    windows = [each for each in found.windows if window in (None, each.number)]
    if not windows:
        closed = f"windows 0 to {len(found.windows) - 1} have closed" if found.windows else "no window has closed yet"
        raise ConfigError(f"nothing to compare: {closed}")
    chosen = Supposition(tuple(windows), found.real, found.supposed)
    rows: list[tuple[Any, ...]] = [
        (ledger.name(node), real, supposed, supposed - real) for node, (real, supposed) in chosen.paid().items()
    ]
    lines: list[str] = []
    if why is not None:
        last = windows[-1].supposed
        lines = rule.reasons(last.before, last.window, ledger.key(why))
    if as_json:
        fields = ("node", "paid", "would_be_paid", "difference")
        nodes = [dict(zip(fields, row, strict=True)) for row in rows]
        print_json({"rule": rule.name, "windows": [w.number for w in windows], "nodes": nodes, "because": lines})
        return
    text = rule_text(rule.name, tuple(_parameters(rule).items()))
    click.echo(f"windows {windows[0].number} to {windows[-1].number}, as they were and under {text}:")
    print_table(("node", "paid", "would be paid", "difference"), rows)
    for line in lines:
        click.echo(f"  - {line}")
