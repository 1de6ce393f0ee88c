"""The exponential graph: i speaks with i + 1, i + 2, i + 4, i + 8, ... and with i - 1, i - 2, ..., modulo n."""

import argparse

import networkx as nx


def build(n: int) -> nx.Graph:
    return nx.circulant_graph(n, [1 << k for k in range((n - 1).bit_length())])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=16)
    for a, b in build(**vars(parser.parse_args())).edges:
        print(a, b)
