#!/usr/bin/env python
"""Train on a graph of your own before you deploy it. To copy and change: networkx, and p2pfl's public calls.

    python scripts/simulate_topology.py
    python scripts/simulate_topology.py --n 32 --rounds 60 --graph clusters --graph "ring of cliques"

Each graph gets the same digits, split unevenly over its nodes, the same model and the default rule, in the dense
engine. Printed are the mean accuracy over the nodes by round, the worst node's at the end, and what each node sent.
"""

import argparse
import tempfile
from pathlib import Path

import networkx as nx

import p2pfl
from p2pfl.topology import Topology, dump_topology, from_networkx, load_topology

DOCUMENT = {
    "format": 1,
    "model": {"name": "mlp", "args": {"hidden": [64]}, "input_shape": [1, 8, 8], "num_classes": 10},
    "pace": {"mode": "lockstep", "evaluate": 10},
    "train": {"lr": 0.3, "batch_size": 32, "steps": 5, "gradient_limit": 2.0},
    "data": {"source": "digits", "partition": {"by": "dirichlet", "alpha": 0.3}},
}


def graphs(n: int) -> dict[str, Topology]:
    """What to compare: as many networkx graphs as you like, and any that p2pfl knows by name."""
    return {
        "ring": from_networkx(nx.cycle_graph(n)),
        "ring of cliques": from_networkx(nx.ring_of_cliques(n // 4, 4)),
        "expander": from_networkx(nx.random_regular_graph(4, n, seed=1)),
        "one-peer": load_topology("base", n),
        "clusters": load_topology("clusters", n, {"clusters": n // 4}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=16, help="nodes, a multiple of 4, at least 8")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--graph", action="append", metavar="NAME", help="only this one (repeatable)")
    arguments = parser.parse_args()
    found = graphs(arguments.n)
    for name in arguments.graph or found:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "graph.toml"
            file.write_text(dump_topology(found[name]))
            result = p2pfl.simulate(
                DOCUMENT,
                engine="dense",
                nodes=arguments.n,
                **{"topology.file": str(file), "pace.rounds": arguments.rounds},
            )
        each = [node["accuracy"] for node in result.summary["per_node"]]
        curve = "  ".join(f"{int(row['round'])}: {row['accuracy']:.3f}" for row in result.rounds)
        print(f"{name} ({len(found[name].edges)} edges, gap {found[name].spectral_gap():.3f})")
        print(f"  accuracy by round  {curve}")
        print(f"  worst node {min(each):.3f}, sent per node {result.rounds[-1]['bytes_per_node'] / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
