"""A small world (Watts and Strogatz 1998): a ring with k neighbours each, some edges moved far away."""

import argparse

import networkx as nx


def build(n: int, k: int = 4, p: float = 0.1, seed: int = 0) -> nx.Graph:
    return nx.connected_watts_strogatz_graph(n, k, p, seed=seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--p", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    for a, b in build(**vars(parser.parse_args())).edges:
        print(a, b)
