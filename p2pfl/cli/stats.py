"""`p2pfl stats`: count, mean, variance and histogram of a column over all nodes' data, by a secure sum."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.cli.waiting import waiting
from p2pfl.config import load_node
from p2pfl.core.party import Emit

if TYPE_CHECKING:
    from p2pfl.runs.stats import Figures
    from p2pfl.runs.stats_noise import Promised

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
@click.option("--epsilon", type=float, help="Differential privacy of each row: what this question may cost.")
@click.option("--delta", default=1e-6, show_default=True, help="With --epsilon: below 1 over a node's rows.")
@click.option("--coalition", default=1, show_default=True, help="With --epsilon: so many nodes may work together.")
@click.option("--timeout-s", default=10.0, show_default=True, help="How long one message may take.")
@json_option
def stats(
    config_path: Path,
    column: str,
    reach: tuple[float, float],
    bins: int,
    epsilon: float | None,
    delta: float,
    coalition: int,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Ask all nodes about one column of their data; nobody sees another's figures.

    Every node of the network (3 to 16) must run the same command; it ends on all when all have answered. If one is
    missing, nobody learns anything. Two questions that differ little may give away what one of them does not: whoever
    runs this command agrees to the question. With --epsilon the nodes add noise that they share out, so that no single
    row shows; what questions cost adds up.
    """
    config = load_node(config_path, ())

    from p2pfl.runs.stats import Question, ask
    from p2pfl.runs.stats_noise import Promised

    def on_emit(emit: Emit) -> None:
        if emit.name in LOUD and not as_json:
            click.echo(
                f"{emit.name.replace('_', ' ')}: " + ", ".join(f"{k} {v}" for k, v in emit.fields.items()), err=True
            )

    promised = None if epsilon is None else Promised(epsilon, delta, coalition)
    with waiting("waiting for the other nodes' answers", as_json):
        found = ask(config, Question(column, *reach, bins, promised), on_emit, timeout_s)
    alone = None if promised is None else promised.alone(found.nodes)
    if as_json:
        private = {} if promised is None else {"privacy": asdict(promised) | {"epsilon_alone": alone}}
        print_json(asdict(found) | private)
        return
    _show(column, found, promised, alone)


def _show(column: str, found: "Figures", promised: "Promised | None", alone: float | None) -> None:
    rows = [
        ("column", column),
        ("nodes", str(found.nodes)),
        ("count", str(found.count)),
        ("mean", f"{found.mean:.6g}"),
        ("variance", f"{found.variance:.6g}"),
    ]
    if promised is not None and alone is not None:
        together = f"everybody, and {promised.coalition} nodes together"
        rows += [
            ("epsilon of a row", f"{promised.epsilon:g} at delta {promised.delta:g}, against {together}"),
            ("against all others", f"epsilon {alone:.3g}"),
            ("noise", f"deviation {found.deviation:.3g} in the count and in each bin"),
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
