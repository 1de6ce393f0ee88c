"""A torus: a grid whose ends meet, `rows` x (n / rows); four neighbours each."""

import argparse
from math import isqrt

import networkx as nx


def build(n: int, rows: int = 0) -> nx.Graph:
    """Without rows, the divisor of n nearest to its square root."""
    if not rows:
        rows = next(r for r in range(isqrt(n), 0, -1) if n % r == 0)
    if n % rows or min(rows, n // rows) < 3:
        raise ValueError(f"n = {n} is not rows x columns with at least 3 of each (rows = {rows})")
    return nx.grid_2d_graph(rows, n // rows, periodic=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--rows", type=int, default=0)
    for a, b in build(**vars(parser.parse_args())).edges:
        print(*a, *b)
