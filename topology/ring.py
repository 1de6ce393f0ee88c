"""A ring: everybody speaks with the one before and the one after."""

import argparse

import networkx as nx


def build(n: int) -> nx.Graph:
    return nx.cycle_graph(n)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=16)
    for a, b in build(**vars(parser.parse_args())).edges:
        print(a, b)
