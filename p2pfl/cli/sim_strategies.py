"""`p2pfl sim --strategies`: nodes that behave in different ways, and who earned what. Knows rows and options."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pfl.cli.show import print_json, print_table
from p2pfl.cli.vary import check_picture
from p2pfl.config import NetworkConfig
from p2pfl.errors import ConfigError

if TYPE_CHECKING:
    from p2pfl.runs.incentives import Earned
    from p2pfl.runs.simulate import World


def run_strategies(
    config: NetworkConfig, text: str, world: "World", out: Path | None, plot: Path | None, quiet: bool, as_json: bool
) -> int:
    """Run the trial, print its table, draw it; with `out`, keep what each node has."""
    from p2pfl.strategies import parse_strategies

    names = parse_strategies(text)
    check_picture(plot)
    if len(names) < 2:
        raise ConfigError("--strategies: expected two nodes or more, like honest*6,copycat,freerider")

    from p2pfl.cli.live import LiveTable
    from p2pfl.runs.folder import RunFolder
    from p2pfl.runs.incentives import build_trial, run_trial, write_trial

    folder = RunFolder.open(out, resume=False) if out is not None else None
    simulation = build_trial(config, names, world)
    with LiveTable(simulation.outcomes.values(), f"{config.name}, strategies, simulated", quiet or as_json):
        rows = run_trial(simulation, names)
    if folder is not None:
        write_trial(folder, simulation, rows)
    if plot is not None:
        draw_trial(rows, config.name, plot)
    if as_json:
        print_json({"nodes": [row.plain() for row in rows]})
    else:
        print_trial(rows)
    return 0


def print_trial(rows: Sequence["Earned"]) -> None:
    """Who earned what, the best first."""
    from p2pfl.ledger.feeds.kinds import FINDINGS

    table = []
    for row in sorted(rows, key=lambda row: (-row.credits, row.name)):
        scores = [micro for _, micro, _ in row.scores]
        found = sorted({FINDINGS[finding] for _, _, finding in row.scores if finding})
        mean = f"{sum(scores) / len(scores) / 1e6:+.4f}" if scores else "-"
        taken = row.valuation.get("valuation_share")
        share = "-" if taken is None else f"{100 * float(taken):.1f} %"
        table.append((row.name, row.strategy, row.credits, mean, len(scores), share, "; ".join(found)))
    print_table(("node", "strategy", "credits", "mean score", "windows", "valuation", "found"), table)
    click.echo("\nscores: of the last windows; valuation: bytes it took, of those said to neighbours")


def draw_trial(rows: Sequence["Earned"], title: str, path: Path) -> None:
    """Credits as bars, and scores by window. Raises ConfigError."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    bars, lines = figure.subplots(1, 2)
    labels = [f"{row.name} {row.strategy}" for row in rows]
    bars.barh(labels, [row.credits for row in rows], color=["#3b7dd8" if row.works else "#d8643b" for row in rows])
    bars.invert_yaxis()
    bars.set_xlabel("credits")
    for row, label in zip(rows, labels, strict=True):
        lines.plot([w for w, _, _ in row.scores], [micro / 1e6 for _, micro, _ in row.scores], "o-", label=label)
    lines.axhline(0, color="grey", linewidth=0.5)
    lines.set_xlabel("window")
    lines.set_ylabel("score")
    lines.legend(fontsize="x-small")
    figure.suptitle(title)
    try:
        figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
