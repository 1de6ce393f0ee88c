"""`p2pfl ledger audit-scores`: credits beside a second opinion on what work was worth. Knows rows, options and axes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from p2pfl.cli.ledger_books import node_option, run_argument
from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.core.ids import short
from p2pfl.errors import ConfigError
from p2pfl.runs.books import read_ledger

if TYPE_CHECKING:
    from p2pfl.ledger.check.standings import Closed
    from p2pfl.runs.audit_scores import Audited

ORDERS_MAX = 100_000
ROUNDS_MAX = 10_000


@click.command("audit-scores")
@run_argument
@node_option
@click.option(
    "--by",
    type=click.Choice(["updates", "retraining"]),
    help="updates: score again what evaluators were shown and kept. retraining: train coalitions of nodes anew. "
    "Without it: by updates, if any are kept.",
)
@click.option(
    "--split",
    type=click.Choice(["test", "validation"]),
    help="Judge on the common test set, if there is one, or on the node's own kept examples.",
)
@click.option(
    "--orders",
    type=click.IntRange(2, ORDERS_MAX),
    default=200,
    show_default=True,
    help="Permutations, where there are too many nodes for all coalitions.",
)
@click.option(
    "--rounds", type=click.IntRange(1, ROUNDS_MAX), default=8, show_default=True, help="Of retraining a coalition."
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .png, .svg or .pdf.")
@json_option
def audit_scores(
    run: Path,
    node: str | None,
    by: Literal["updates", "retraining"] | None,
    split: Literal["test", "validation"] | None,
    orders: int,
    rounds: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Give a second opinion on what the ledger paid: shares computed again, beside the credits.

    RUN is the folder of a simulated trial, of a network's nodes, or of one node. Of a node that evaluated, what it was
    shown is scored again with more work than it had time for; or coalitions of nodes are trained anew, where their
    data are at hand. Nothing here changes what was paid.
    """
    from p2pfl.cli.live import counting
    from p2pfl.cli.vary import check_picture

    check_picture(plot)
    with read_ledger(str(run), node) as ledger:
        from p2pfl.ledger.check.standings import history

        closed, name, height = list(history(ledger.view)), ledger.view.genesis.name, ledger.view.height
    if not any(window.scores for window in closed):
        raise ConfigError(f"{run}: no work was scored up to height {height}: nothing to give a second opinion on")

    from p2pfl.runs.audit_scores import Asked
    from p2pfl.runs.audit_scores import audit_scores as audit

    with counting("scoring again", quiet=as_json) as on_step:
        found = audit(run, closed, Asked(by, split, node, orders, rounds), on_step)
    if plot is not None:
        draw_audit(found, closed, name, plot)
    if as_json:
        print_json(_plain(found, closed))
    else:
        _print(found)


def _print(found: "Audited") -> None:
    if found.by == "updates":
        windows = f"windows {found.windows[0]} to {found.windows[-1]}" if found.windows else "no window"
        what = f"work of {windows} ({len(found.windows)}), as shown to {', '.join(found.evaluators)}"
    else:
        what = "nodes' data, by training coalitions anew"
    on = f"{found.examples} {found.split} examples"
    click.echo(f"{what}: {found.estimator}, {found.evaluations} models tried on {on}\n")
    table = []
    for row in sorted(found.rows, key=lambda row: (-row.credits, row.name)):
        again = (f"{row.value:+.4f}", f"{row.again:.3f}", f"{row.difference:+.3f}")
        table.append((f"{row.name} ({short(row.key)})", row.credits, f"{row.share:.3f}", *again))
    print_table(("node", "credits", "share", "value again", "share again", "difference"), table)
    rank = "-" if found.spearman is None else f"{found.spearman:+.2f}"
    click.echo(f"\nSpearman of credits and values: {rank}; most apart: {_most(found):.3f} of all")
    for line in found.notes:
        click.echo(f"note: {line}")


def _most(found: "Audited") -> float:
    return max(abs(row.difference) for row in found.rows)


def _plain(found: "Audited", closed: Sequence["Closed"]) -> dict[str, Any]:
    rows = [
        {
            "name": row.name,
            "key": row.key.hex(),
            "credits": row.credits,
            "share": row.share,
            "value": row.value,
            "share_again": row.again,
            "difference": row.difference,
            "windows": row.windows,
        }
        for row in found.rows
    ]
    over = [
        {
            "window": window.number,
            "scored": window.scored,
            "payouts": {node.hex(): paid for node, paid in window.payouts.items()},
            "scores": {node.hex(): score.micro for node, score in window.scores.items()},
            "standings": {node.hex(): standing for node, standing in window.standings.items()},
        }
        for window in closed
    ]
    return {
        "by": found.by,
        "windows": list(found.windows),
        "evaluators": list(found.evaluators),
        "split": found.split,
        "examples": found.examples,
        "estimator": found.estimator,
        "evaluations": found.evaluations,
        "spearman": found.spearman,
        "notes": list(found.notes),
        "nodes": rows,
        "history": over,
    }


def draw_audit(found: "Audited", closed: Sequence["Closed"], title: str, path: Path) -> None:
    """Shares side by side, credits and standing by window. Raises ConfigError."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    bars, credits, standing = figure.subplots(1, 3)
    places = range(len(found.rows))
    bars.barh([p - 0.2 for p in places], [row.share for row in found.rows], 0.4, label="credits", color="#3b7dd8")
    bars.barh([p + 0.2 for p in places], [row.again for row in found.rows], 0.4, label="again", color="#d8a03b")
    bars.set_yticks(list(places), [row.name for row in found.rows])
    bars.invert_yaxis()
    bars.set_xlabel("share")
    bars.legend(fontsize=8)
    numbers = [window.number for window in closed]
    for row in found.rows:
        credits.plot(numbers, [window.balances.get(row.key, 0) for window in closed], label=row.name)
        standing.plot(numbers, [window.standings.get(row.key, 0) / 1e6 for window in closed], label=row.name)
    credits.set_ylabel("balance")
    standing.set_ylabel("standing as an evaluator")
    standing.set_ylim(0, 1)
    for axes in (credits, standing):
        axes.set_xlabel("window")
    standing.legend(fontsize=7)
    figure.suptitle(f"{title}: credits and a second opinion by {found.by}")
    try:
        figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"--plot {path}: {error.strerror}") from None
