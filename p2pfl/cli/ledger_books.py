"""The arguments that say which ledger is meant. What they lead to is found by `runs/books.py`."""

from pathlib import Path

import click

from p2pfl.learn.names import resolve
from p2pfl.ledger.outcome.rules import add_rule

run_argument = click.argument("run", type=click.Path(path_type=Path))
source_argument = click.argument("run", metavar="RUN|URL")
node_option = click.option(
    "--node", "node", metavar="NAME", help="Only this node: the name of its folder, or the first hex digits of its key."
)


def _add_rules(ctx: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> None:
    for name in names:
        add_rule(resolve(name, Path()))


own_rules = click.option(
    "--own-rule",
    multiple=True,
    expose_value=False,
    callback=_add_rules,
    metavar="FILE.py:CLASS",
    help="A rule of your own that this ledger is paid by; it is executed. Repeatable.",
)
