"""`p2pfl topology design`: overlays for real links. A thin layer over p2pfl.topology.overlays.design."""

from pathlib import Path
from typing import Any

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.core.limits import NEIGHBOURS_MAX
from p2pfl.errors import ConfigError
from p2pfl.topology.files.dump import dump_topology
from p2pfl.topology.graphs.graph import Topology
from p2pfl.topology.overlays.cycle import Workload
from p2pfl.topology.overlays.design import Plan, Wish
from p2pfl.topology.overlays.design import design as propose
from p2pfl.topology.overlays.overlay import Overlay
from p2pfl.topology.overlays.underlay import ACCESS_MBPS, load_underlay

PICTURES = (".png", ".svg", ".pdf")
COLUMNS = ("overlay", "edges", "degree", "ms/round", "rounds", "ms to target", "")
AS_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--underlay", "under", type=AS_PATH, required=True, metavar="FILE", help="The network: links, latencies.")
@click.option("--model-size", type=float, required=True, metavar="BYTES", help="Of one message.")
@click.option("--compute-ms", type=float, required=True, metavar="T", help="Local steps of a round, milliseconds.")
@click.option(
    "--degree-max", type=int, default=NEIGHBOURS_MAX, metavar="D", help="Exchanges of a node in one round, at most."
)
@click.option("--target", type=float, default=1e-3, show_default=True, help="Disagreement to reach, of the first.")
@click.option("--core-mbps", type=float, help="Bandwidth of all links, whatever the file says.")
@click.option("--access-mbps", type=float, default=ACCESS_MBPS, show_default=True, help="Of a node's own line.")
@click.option("--effort", type=click.IntRange(0, 100_000), default=1000, show_default=True, help="Tries of a search.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything drawn.")
@click.option("--plot", type=AS_PATH, metavar="FILE", help="Draw the best, on the map if places are known.")
@click.option("-o", "--out", type=AS_PATH, metavar="FILE", help="Write the best as a .toml topology file.")
@json_option
def design(
    under: Path,
    model_size: float,
    compute_ms: float,
    degree_max: int,
    target: float,
    core_mbps: float | None,
    access_mbps: float,
    effort: int,
    seed: int,
    plot: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Propose who exchanges with whom, for the links you have.

    Compares star, rings, trees, MATCHA, tuned random graphs, and exact averages placed on the map: time of a round (in
    the long run; slow links delay only those who wait for them) and time until the nodes agree. The best reaches the
    target first, with rounds no longer than those of the fastest published overlay.

    FILE is a .toml, .gml or .graphml graph with latency_ms and bandwidth_mbps (or distance and capacity) on its links;
    `p2pfl topology measure` writes one.
    """
    if plot is not None and plot.suffix not in PICTURES:
        raise ConfigError(f"--plot {plot}: expected a file ending in {', '.join(PICTURES)}")
    if out is not None and out.suffix != ".toml":
        raise ConfigError(f"-o {out}: expected a file ending in .toml")
    underlay = load_underlay(under, core_mbps, access_mbps)
    plan = propose(underlay, Workload(model_size, compute_ms), Wish(degree_max, target, effort, seed))
    best = plan.best.topology
    assert best is not None, "the best is one that nodes can run"
    if out is not None:
        write_file(out, dump_topology(best, comment_of(plan.best, under, model_size, compute_ms)))
    if plot is not None:
        save_picture(best, plan.best, plot)
    if as_json:
        print_json(to_plain(plan))
        return
    print_table(COLUMNS, _rows(plan))
    click.echo("\n* only to compare: peers cannot run it")
    click.echo(f"best: {plan.best.name}, {how_to_run(best)}")
    for what, path in (("topology", out), ("picture", plot)):
        if path is not None:
            click.echo(f"{what}: {path}")


def to_plain(plan: Plan) -> dict[str, Any]:
    """A plan for machines; times that never come are null."""

    def plain(one: Overlay) -> dict[str, Any]:
        return {
            "name": one.name,
            "edges": one.num_edges,
            "degree": one.degree,
            "round_ms": one.round_ms,
            "rounds_to_target": one.rounds,
            "target_ms": None if one.rounds is None else one.target_ms,
            "for_nodes": one.topology is not None,
        }

    return {
        "published": [plain(one) for one in plan.published],
        "ours": [plain(one) for one in plan.ours],
        "best": plain(plan.best),
    }


def how_to_run(best: Topology) -> str:
    """Which rule exchanges as the times assume."""
    if best.phases and all(len({x for e in phase for x in e}) == 2 * len(phase) for phase in best.phases):
        return 'for rounds of pairs: mix.rule = "average" keeps the weights (pairwise meets in the middle)'
    return 'for rules that exchange with all neighbours of a round: mix.rule = "average"'


def comment_of(best: Overlay, under: Path, model_size: float, compute_ms: float) -> str:
    """The top of the file: where it comes from."""
    return (
        f"{best.name}, designed by `p2pfl topology design` for {under.name},\n"
        f"messages of {model_size:.0f} bytes and {compute_ms:g} ms of local steps a round:\n"
        f"{best.round_ms:.1f} ms a round, {best.target_ms:.0f} ms to the target."
    )


def write_file(path: Path, text: str) -> None:
    """Raises ConfigError if it cannot be written."""
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def save_picture(topology: Topology, best: Overlay, path: Path) -> None:
    """Raises ConfigError if there is no matplotlib, or no way to write there."""
    from p2pfl.topology.figures.draw import draw

    try:
        draw(topology, best.name).savefig(path, dpi=160)
    except OSError as error:
        raise ConfigError(f"cannot write the picture {path}: {error.strerror}") from None


def _rows(plan: Plan) -> list[list[object]]:
    """Columns of numbers alone stand to the right (print_table)."""
    return [
        [
            one.name if one.topology is not None else f"{one.name} *",
            one.num_edges,
            one.degree,
            f"{one.round_ms:.1f}",
            "never" if one.rounds is None else str(one.rounds),
            "-" if one.rounds is None else f"{one.target_ms:.0f}",
            "best" if one is plan.best else "",
        ]
        for one in plan.overlays
    ]
