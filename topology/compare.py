"""Which graph? Compares any number of them: what they cost, and how fast they average, predicted and measured.

    python topology/compare.py --n 64 --plot compare.png
    python topology/compare.py topology/hospitals.toml ring complete --n 12

"predicted" is the bound from the spectral gap; "measured" is what plain averaging needed, from random starts, until the
disagreement was 1/1000 of the first; "sent" counts the vectors that crossed an edge until then. "deg" is the largest
degree, "diam" the diameter, "gap" the spectral gap.
"""

import argparse
from pathlib import Path

import numpy as np

from p2pfl.cli.show import print_table
from p2pfl.errors import ConfigError
from p2pfl.topology import Topology, load_topology

WANTED = 1e-3
ROUNDS_MAX = 20_000
DEFAULTS = (
    "line",
    "ring",
    "topology/small_world.py",
    "torus",
    "topology/expander.py",
    "hypercube",
    "topology/exponential.py",
    "one-peer-exponential",
    "complete",
)


def measure(topology: Topology, seed: int = 0) -> list[float]:
    """The disagreement after each round of plain averaging, as a share of the first; ends at WANTED."""
    x = np.random.default_rng(seed).standard_normal((len(topology.nodes), 64))
    x -= x.mean(axis=0)
    first = np.linalg.norm(x)
    frames = [topology.at(t).matrix() for t in range(max(1, len(topology.phases)))]
    curve = [1.0]
    while curve[-1] > WANTED and len(curve) <= ROUNDS_MAX:
        x = frames[(len(curve) - 1) % len(frames)] @ x
        curve.append(float(np.linalg.norm(x) / first))
    return curve


def row(name: str, topology: Topology, curve: list[float]) -> list[object]:
    degrees = [topology.degree(node) for node in topology.nodes]
    done = curve[-1] <= WANTED
    rounds = len(curve) - 1
    sent = sum(2 * len(topology.at(t).edges) for t in range(rounds))
    return [
        name,
        len(topology.nodes),
        len(topology.edges),
        max(degrees),
        topology.diameter,
        f"{topology.spectral_gap():.2g}",
        topology.rounds_to_consensus(WANTED) or "never",
        rounds if done else f"> {ROUNDS_MAX}",
        sent if done else "",
    ]


def plot(curves: dict[str, list[float]], path: Path) -> None:
    """Disagreement against rounds, one line per graph, each named at its end."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("pictures need matplotlib; install the plot extra: pip install 'p2pfl-node[plot]'") from None
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        axes.plot(range(len(curve)), [max(value, WANTED / 3) for value in curve], label=name, linewidth=1.8)
    axes.axhline(WANTED, color="#6b7280", linewidth=0.8, linestyle=":")
    axes.set(xlabel="round", ylabel="disagreement, as a share of the first", yscale="log", xscale="symlog")
    axes.set_xlim(0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", nargs="*", metavar="NAME|FILE", help="default: one of each kind")
    parser.add_argument("--n", type=int, default=16, help="nodes, for names and scripts")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture: .png, .svg or .pdf")
    arguments = parser.parse_args()
    rows, curves = [], {}
    here = Path(__file__).resolve().parent.parent
    for spec in arguments.graphs or [str(here / s) if s.endswith(".py") else s for s in DEFAULTS]:
        name = Path(spec).stem
        try:
            topology = load_topology(spec, arguments.n if Path(spec).suffix in ("", ".py") else None)
        except ConfigError as error:
            print(f"left out: {error}")
            continue
        curves[name] = measure(topology)
        rows.append(row(name, topology, curves[name]))
    columns = ("graph", "n", "edges", "deg", "diam", "gap", "predicted", "measured", "sent")
    print_table(columns, rows)
    if arguments.plot:
        plot(curves, arguments.plot)


if __name__ == "__main__":
    main()
