"""`p2pfl topology compare`: several graphs side by side. A thin layer over p2pfl.topology.figures.study."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.cli.waiting import each
from p2pfl.errors import ConfigError
from p2pfl.topology import FAMILIES, Pace, Study, Topology, load_topology, parse_params, study
from p2pfl.topology.overlays.cycle import Workload
from p2pfl.topology.overlays.underlay import Underlay, load_underlay

GRAPHS_MAX = 64
PICTURES = (".png", ".svg", ".pdf")


@click.command()
@click.argument("graphs", metavar="NAME|FILE[:KEY=VALUE,..]...", nargs=-1, required=True)
@click.option("--n", type=int, help="Number of nodes, for names and scripts; by default the underlay's, or 16.")
@click.option(
    "--underlay",
    "under",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Real links: a graph file with latencies and bandwidths.",
)
@click.option("--model-size", type=float, metavar="BYTES", help="Of one message: adds bytes, and with links seconds.")
@click.option("--compute-ms", type=float, default=0.0, show_default=True, help="Local steps of a round, milliseconds.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the curves: .png, .svg or .pdf.")
@json_option
def compare(
    graphs: tuple[str, ...],
    n: int | None,
    under: Path | None,
    model_size: float | None,
    compute_ms: float,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Put graphs side by side: what they cost, and how fast they average.

    For each graph: rounds until disagreement is 1/1000 of the first, predicted from the spectrum and measured on random
    vectors, averaging with all neighbours and meeting in pairs; models sent until then. With --model-size and links (of
    --underlay, or in a graph's own file) also the time of a round and until consensus.

    Parameters of one graph follow a colon: small-world:k=6,p=0.2 clusters:clusters=8,every=4.
    """
    if plot is not None and plot.suffix not in PICTURES:
        raise ConfigError(f"--plot {plot}: expected a file ending in {', '.join(PICTURES)}")
    if len(graphs) > GRAPHS_MAX:
        raise ConfigError(f"expected at most {GRAPHS_MAX} graphs, got {len(graphs)}")
    if under is not None and model_size is None:
        raise ConfigError("--underlay needs --model-size BYTES: what is sent over its links")
    underlay = load_underlay(under) if under is not None else None
    n = n or (len(underlay.names) if underlay is not None else None)
    work = Workload(model_size, compute_ms) if model_size is not None else None
    found = [_study(word, n, underlay, work) for word in each(graphs, "measuring graphs", as_json)]
    if plot is not None:
        save_curves(found, plot)
    if as_json:
        print_json([to_plain(one, model_size) for one in found])
        return
    print_table(("graph", "nodes", "edges", "degree", "diameter", "gap"), [_facts(one) for one in found])
    for title, paces in (
        ("averaging with all neighbours", [one.average for one in found]),
        ("meeting in pairs (the default rule, in lockstep)", [one.pairs for one in found]),
    ):
        click.echo()
        print_paces(title, [one.name for one in found], paces, model_size)
    if plot is not None:
        click.echo(f"\npicture: {plot}")


def load_word(word: str, n: int | None) -> tuple[str, Topology]:
    """`torus`, `small-world:k=6,p=0.2` or a file -> a short name and the checked graph. Raises ConfigError."""
    spec, colon, tail = word.partition(":")
    if not colon or not (spec in FAMILIES or spec.endswith(".py")):
        spec, tail = word, ""
    params = parse_params(tail.split(",")) if tail else {}
    path = Path(spec)
    if path.suffix in ("", ".py"):
        size = None if "n" in params else n or 16
        return path.stem + (f":{tail}" if tail else ""), load_topology(spec, size, params)
    return path.stem, load_topology(spec, None, params)


def print_paces(title: str, names: list[str], paces: list[Pace], model_size: float | None) -> None:
    """One way to exchange, a row for each graph."""
    columns = ["graph", "predicted", "measured", "models sent"]
    rows: list[list[object]] = [
        [name, _or(pace.predicted, "never"), _or(pace.measured, "never"), _or(pace.models_sent, "-")]
        for name, pace in zip(names, paces, strict=True)
    ]
    if model_size is not None:
        columns.append("MB sent")
        for row, pace in zip(rows, paces, strict=True):
            row.append("-" if pace.models_sent is None else f"{pace.models_sent * model_size / 1e6:.4g}")
    if any(pace.round_ms is not None for pace in paces):
        columns += ["ms a round", "seconds"]
        for row, pace in zip(rows, paces, strict=True):
            row += [_brief(pace.round_ms), _brief(pace.consensus_s)]
    print_table(columns, rows, title)


def save_curves(found: list[Study], path: Path) -> None:
    """Raises ConfigError if there is no matplotlib, or no way to write there."""
    from p2pfl.topology.figures.curves import draw_curves

    try:
        draw_curves(found).savefig(path, dpi=160)
    except OSError as error:
        raise ConfigError(f"cannot write the picture {path}: {error.strerror}") from None


def to_plain(one: Study, model_size: float | None) -> dict[str, Any]:
    """A study for machines."""
    plain = asdict(one)
    for key, pace in (("average", one.average), ("pairs", one.pairs)):
        sent = pace.models_sent
        plain[key]["bytes_sent"] = None if model_size is None or sent is None else sent * model_size
        plain[key]["consensus_s"] = pace.consensus_s
    return plain


def _study(word: str, n: int | None, underlay: Underlay | None, work: Workload | None) -> Study:
    name, graph = load_word(word, n)
    knows = underlay is not None or len(graph.links) == len(graph.edges)
    return study(graph, name, underlay, work if knows else None)


def _facts(one: Study) -> list[object]:
    return [one.name, one.num_nodes, one.num_edges, one.degree_max, one.diameter, f"{one.spectral_gap:.3g}"]


def _or(value: int | None, without: str) -> int | str:
    return without if value is None else value


def _brief(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
