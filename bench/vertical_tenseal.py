"""The layer of bench/vertical.py under TenSEAL: prints seconds and bytes as JSON. Run by a Python that has tenseal."""

import json
import secrets
from time import perf_counter

import numpy as np
import tenseal as ts

BATCH, INPUTS, OUTPUTS = 256, 20, 16


def main() -> None:
    rng = np.random.default_rng(1)
    x, w = rng.uniform(-4, 4, (BATCH, INPUTS)), rng.uniform(-1, 1, (INPUTS, OUTPUTS))
    context = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 60])
    context.global_scale = 2**40
    layer(context, x, w)
    times = []
    for _ in range(3):
        start = perf_counter()
        z, sent = layer(context, x, w)
        times.append(perf_counter() - start)
    assert np.abs(z - x @ w).max() < 1e-3
    print(json.dumps({"seconds": sorted(times)[1], "bytes": sent}))


def layer(context: "ts.Context", x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, int]:
    """z and the bytes that cross the wire: columns up, masked columns down, opened ones (doubles) up."""
    up = [ts.ckks_vector(context, column.tolist()).serialize() for column in x.T]
    columns = [ts.ckks_vector_from(context, blob) for blob in up]
    down, masks = [], []
    for weights in w.T.tolist():
        total = columns[0] * weights[0]
        for column, weight in zip(columns[1:], weights[1:], strict=True):
            total += column * weight
        mask = [secrets.randbits(40) / 2**30 for _ in range(BATCH)]
        masks.append(mask)
        down.append((total + mask).serialize())
    opened = [ts.ckks_vector_from(context, blob).decrypt() for blob in down]
    z = np.array(opened).T - np.array(masks).T
    return z, sum(map(len, up)) + sum(map(len, down)) + 8 * z.size


if __name__ == "__main__":
    main()
