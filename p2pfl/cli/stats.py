"""`p2pfl stats`: count, mean, variance and histogram of a column over all nodes' data, by a secure sum."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.config import load_node
from p2pfl.core.party import Emit

if TYPE_CHECKING:
    from p2pfl.runs.stats import Figures

LOUD = ("absent", "unreachable", "cell_failed", "blamed", "refused")
BAR = 40


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("node.toml"),
    show_default=True,
    help="The node's document: whose data, and who the others are.",
)
@click.option("--column", required=True, help="label, a feature's name, or x17 for the 18th value of a sample.")
@click.option(
    "--range", "reach", nargs=2, type=float, required=True, help="Values outside count as the ends: lowest, highest."
)
@click.option("--bins", default=10, show_default=True, help="Of the histogram.")
@click.option("--timeout-s", default=10.0, show_default=True, help="How long one message may take.")
@json_option
def stats(
    config_path: Path, column: str, reach: tuple[float, float], bins: int, timeout_s: float, as_json: bool
) -> None:
    """Ask all nodes about one column of their data; nobody sees another's figures.

    Every node of the network (3 to 16) must run the same command; it ends on all when all have answered. If one is
    missing, nobody learns anything. Two questions that differ little may give away what one of them does not: whoever
    runs this command agrees to the question.
    """
    config = load_node(config_path, ())

    from p2pfl.runs.stats import Question, ask

    def on_emit(emit: Emit) -> None:
        if emit.name in LOUD and not as_json:
            click.echo(
                f"{emit.name.replace('_', ' ')}: " + ", ".join(f"{k} {v}" for k, v in emit.fields.items()), err=True
            )

    found = ask(config, Question(column, *reach, bins), on_emit, timeout_s)
    if as_json:
        print_json(asdict(found))
        return
    _show(column, found)


def _show(column: str, found: "Figures") -> None:
    rows = [
        ("column", column),
        ("nodes", str(found.nodes)),
        ("count", str(found.count)),
        ("mean", f"{found.mean:.6g}"),
        ("variance", f"{found.variance:.6g}"),
    ]
    print_table(("what", "value"), rows)
    most = max(*found.counts, 1)
    edges = zip(found.edges, found.edges[1:], strict=False)
    print_table(
        ("from", "to", "count", ""),
        [
            (f"{low:.4g}", f"{high:.4g}", str(count), "#" * (BAR * count // most))
            for (low, high), count in zip(edges, found.counts, strict=True)
        ],
    )
