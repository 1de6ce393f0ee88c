"""`p2pfl topology`: look at a graph before a network is built on it. A thin layer over p2pfl.topology."""

from pathlib import Path
from typing import Any

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.cli.topology_compare import compare
from p2pfl.cli.topology_design import design
from p2pfl.cli.topology_measure import measure
from p2pfl.errors import ConfigError
from p2pfl.topology import FAMILIES, Topology, load_topology, parse_params

EDGES_SHOWN_MAX = 40
PICTURES = (".png", ".svg", ".pdf")


@click.group()
def topology() -> None:
    """Look at and check graphs."""


topology.add_command(compare)
topology.add_command(design)
topology.add_command(measure)


@topology.command()
@click.argument("graph", metavar="NAME|FILE")
@click.argument("params", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--n", type=int, help="Number of nodes, for a NAME or a script.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .png, .svg or .pdf.")
@json_option
def show(graph: str, params: tuple[str, ...], n: int | None, plot: Path | None, as_json: bool) -> None:
    """Check a graph and say how fast it averages.

    NAME is one of: ring, line, star, complete, torus, hypercube, exponential, random-regular, small-world, erdos-renyi;
    or, changing from round to round: one-peer-exponential, base, random-matchings, epidemic, matcha, clusters.

    FILE is a networkx script with build(n, ...) -> nx.Graph (.py; it is executed), a .gml or .graphml file, or a
    .toml file with edges. KEY=VALUE are parameters of the name or of the script: k=6 p=0.1 seed=3.
    """
    if plot is not None and plot.suffix not in PICTURES:
        raise ConfigError(f"--plot {plot}: expected a file ending in {', '.join(PICTURES)}")
    found = load_topology(graph, n, parse_params(params))
    if plot is not None:
        save_picture(found, graph, plot)
    if as_json:
        print_json(describe(found, graph))
        return
    print_table(("", ""), rows(found, graph))
    if len(found.edges) <= EDGES_SHOWN_MAX:
        click.echo()
        print_edges(found)
    if plot is not None:
        click.echo(f"\npicture: {plot}")


def describe(found: Topology, name: str) -> dict[str, Any]:
    """Everything `show` knows, for machines."""
    degrees = [found.degree(node) for node in found.nodes]
    return {
        "topology": name,
        "digest": found.digest,
        "nodes": list(found.nodes),
        "num_nodes": len(found.nodes),
        "num_edges": len(found.edges),
        "phases": max(1, len(found.phases)),
        "degree": {"min": min(degrees), "mean": sum(degrees) / len(degrees), "max": max(degrees)},
        "diameter": found.diameter,
        "spectral_gap": found.spectral_gap(),
        "colours": len(found.colouring()),
        "rounds_to_consensus": found.rounds_to_consensus(),
        "edges": [_edge(found, a, b) for a, b in found.edge_list()],
    }


def rows(found: Topology, name: str) -> list[tuple[str, str]]:
    """The same for people."""
    facts = describe(found, name)
    degree, rounds = facts["degree"], facts["rounds_to_consensus"]
    table = [
        ("topology", name),
        ("nodes", str(facts["num_nodes"])),
        ("edges", str(facts["num_edges"])),
        ("degree", f"{degree['min']} to {degree['max']}, mean {degree['mean']:.4g}"),
        ("diameter", str(facts["diameter"])),
        ("spectral gap", f"{facts['spectral_gap']:.4g}  (Metropolis-Hastings weights)"),
        ("colours", f"{facts['colours']}  (every edge once in so many steps, no node twice in one)"),
        ("consensus", f"{rounds}  (rounds of averaging until disagreement is 1/1000)"),
    ]
    if found.phases:
        table.insert(3, ("phases", f"{len(found.phases)}  (one per round in turn; edges and degree count all)"))
    table += _lines(found)
    return [*table, ("digest", found.digest.hex())]


def print_edges(found: Topology) -> None:
    """The edges as a table, with what is known of their links and phases."""
    columns, cells = ["a", "b"], [list(e) for e in found.edge_list()]
    if found.links:
        columns += ["latency ms", "bandwidth Mbit/s"]
        for row, e in zip(cells, found.edge_list(), strict=True):
            link = found.links.get(e)
            row += [_plain(link.latency_ms if link else None), _plain(link.bandwidth_mbps if link else None)]
    if found.phases:
        columns.append("phase")
        for row, e in zip(cells, found.edge_list(), strict=True):
            row.append(", ".join(str(i) for i, phase in enumerate(found.phases) if e in phase))
    print_table(columns, cells)


def save_picture(found: Topology, name: str, path: Path) -> None:
    """Raises ConfigError if there is no matplotlib, or no way to write there."""
    from p2pfl.topology.figures.draw import draw

    title = name if name in FAMILIES else Path(name).stem.replace("_", " ")
    try:
        draw(found, title).savefig(path, dpi=160)
    except OSError as error:
        raise ConfigError(f"cannot write the picture {path}: {error.strerror}") from None


def _edge(found: Topology, a: str, b: str) -> dict[str, Any]:
    link = found.links.get((a, b))
    known: dict[str, Any] = {"a": a, "b": b}
    if link is not None:
        known |= {"latency_ms": link.latency_ms, "bandwidth_mbps": link.bandwidth_mbps}
    if found.phases:
        known["phases"] = [i for i, phase in enumerate(found.phases) if (a, b) in phase]
    return known


def _lines(found: Topology) -> list[tuple[str, str]]:
    """The spread of latencies and bandwidths, where known."""
    table = []
    for label, unit, values in (
        ("latency", "ms", [link.latency_ms for link in found.links.values() if link.latency_ms is not None]),
        ("bandwidth", "Mbit/s", [x.bandwidth_mbps for x in found.links.values() if x.bandwidth_mbps is not None]),
    ):
        if values:
            table.append(
                (label, f"{_plain(min(values))} to {_plain(max(values))} {unit}  (known of {len(values)} edges)")
            )
    return table


def _plain(value: float | None) -> str:
    return "" if value is None else f"{round(value, 2):g}"
