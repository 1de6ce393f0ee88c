"""Which graph? To copy and change: networkx graphs of your own beside named ones, and how fast each averages.

    python topology/compare.py --n 64
    python topology/compare.py --n 64 --underlay topology/my_links.toml --model-size 400e3 --compute-ms 50

"predicted" is the bound from the spectral gap, "measured" what gossip on random vectors needed until the disagreement
was 1/1000 of the first; "sent" counts the models that crossed an edge until then. For files, pictures and JSON there
is `p2pfl topology compare`.
"""

import argparse

import networkx as nx

from p2pfl.topology import Topology, Workload, from_networkx, load_topology, load_underlay, study


def two_rings(n: int, bridges: int = 2) -> nx.Graph:
    """A graph of one's own: two rings, joined in so many places."""
    half = n // 2
    graph = nx.disjoint_union(nx.cycle_graph(half), nx.cycle_graph(n - half))
    graph.add_edges_from((i * half // bridges, half + i * half // bridges) for i in range(bridges))
    return graph


def graphs(n: int) -> dict[str, Topology]:
    mine = {
        "ring": nx.cycle_graph(n),
        "two rings": two_rings(n),
        "small world": nx.connected_watts_strogatz_graph(n, 4, 0.1, seed=1),
        "expander": nx.random_regular_graph(4, n, seed=1),
    }
    named = ("exponential", "base", "random-matchings", "matcha", "clusters")
    found = {name: from_networkx(graph, source=name) for name, graph in mine.items()}
    return found | {name: load_topology(name, n, {"base": "exponential"} if name == "matcha" else {}) for name in named}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=16, help="nodes")
    parser.add_argument("--underlay", help="real links, as many nodes as there are silos")
    parser.add_argument("--model-size", type=float, default=400e3, help="bytes of one message")
    parser.add_argument("--compute-ms", type=float, default=50.0, help="local steps of a round")
    arguments = parser.parse_args()
    underlay = load_underlay(arguments.underlay) if arguments.underlay else None
    n = len(underlay.names) if underlay else arguments.n
    work = Workload(arguments.model_size, arguments.compute_ms) if underlay else None

    print(f"{'graph':18}{'edges':>6}{'degree':>7}{'gap':>8}{'predicted':>10}{'measured':>9}{'sent':>8}{'seconds':>9}")
    for name, graph in graphs(n).items():
        one = study(graph, name, underlay, work)
        pace = one.average
        seconds = "" if pace.consensus_s is None else f"{pace.consensus_s:.1f}"
        print(
            f"{name:18}{one.num_edges:6}{one.degree_max:7}{one.spectral_gap:8.3f}"
            f"{pace.predicted!s:>10}{pace.measured!s:>9}{pace.models_sent!s:>8}{seconds:>9}"
        )


if __name__ == "__main__":
    main()
