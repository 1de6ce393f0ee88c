"""An expander: k neighbours each, otherwise random. Few edges, and yet nearly as quick as everybody with everybody."""

import argparse

import networkx as nx


def build(n: int, k: int = 4, seed: int = 0) -> nx.Graph:
    return nx.random_regular_graph(k, n, seed=seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    for a, b in build(**vars(parser.parse_args())).edges:
        print(a, b)
