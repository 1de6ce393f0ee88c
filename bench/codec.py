"""Codec speed as a share of memcpy, and sizes against the order-0 entropy of the codes.

One thread. Each figure is (seconds of a memcpy of the same float32 vector) / (seconds of the operation), measured in
turns in this run. Data: "gauss", "laplace", and "layered": gauss in layers of 1024 values with log-normal scales, as in
real deltas.
"""

from collections.abc import Callable

import numpy as np
import torch
from harness import Row, bar, parse_args, race, table, write_json

from p2pfl.compress import CODECS, Codec, DeadZone, TopK
from p2pfl.compress.deadzone import quantise
from p2pfl.compress.vectors import Floats
from p2pfl.core.noise import root

KEY = root(0)
MILLION = 1_000_000
LAYER = 1024

BARS = {"deadzone encode": 0.08, "int8 encode": 0.25, "topk encode": 0.35, "topk decode + add": 3.0}
SIZE_SLACK = 1.10


def gauss(size: int) -> Floats:
    return np.random.default_rng(0).standard_normal(size, dtype=np.float32)


def laplace(size: int) -> Floats:
    return np.random.default_rng(0).laplace(size=size).astype(np.float32)


def layered(size: int) -> Floats:
    """Layers of 1024 values whose scales are log-normal (sigma 1), as those of a real delta are."""
    scales = np.random.default_rng(1).lognormal(sigma=1.0, size=-(-size // LAYER)).astype(np.float32)
    values = gauss(size)
    values *= np.repeat(scales, LAYER)[:size]
    return values


DATA: dict[str, Callable[[int], Floats]] = {"gauss": gauss, "laplace": laplace, "layered": layered}


def entropy_bytes(k: np.ndarray) -> float:
    """The order-0 entropy of the codes: what no code that treats values alike and alone can beat."""
    counts = np.bincount(k.view(np.uint8), minlength=256)
    share = counts[counts > 0] / k.size
    return float(-(share * np.log2(share)).sum()) * k.size / 8


def speed(codec: Codec, v: torch.Tensor, repeats: int) -> dict[str, float]:
    """Shares of memcpy by operation."""
    packed, _ = codec.encode(v, KEY)
    source, target = v.numpy(), np.zeros(v.numel(), np.float32)
    sides: dict[str, Callable[[], object]] = {
        "memcpy": lambda: np.copyto(target, source),
        "encode": lambda: codec.encode(v, KEY),
        "decode": lambda: codec.decode(packed, v.numel()),
    }
    if isinstance(codec, TopK):
        x = torch.zeros_like(v)
        sides["decode + add"] = lambda: codec.add_to(x, packed)
    seconds = race(sides, repeats)
    return {name: seconds["memcpy"] / spent for name, spent in seconds.items() if name != "memcpy"}


def speeds(sizes: list[int], repeats: int) -> list[Row]:
    rows: list[Row] = []
    for size in sizes:
        v = torch.from_numpy(layered(size))
        for name, kind in CODECS.items():
            codec = kind()
            packed, _ = codec.encode(v, KEY)
            found = speed(codec, v, repeats if size < 100 * MILLION else 3)
            head: Row = {"codec": name, "values": f"{size // MILLION} M", "bits a value": 8 * len(packed.body) / size}
            rows.append({**head, **{what: found.get(what) for what in ("encode", "decode", "decode + add")}})
    return rows


def sizes_of(size: int) -> list[Row]:
    rows: list[Row] = []
    for data, make in DATA.items():
        v = make(size)
        for c in (0.1, 0.25, 0.5, 1.0, 1.5, 2.0):
            packed, _ = DeadZone(c).encode(torch.from_numpy(v), KEY)
            k, _ = quantise(v, int(packed.fields[0]), float(np.abs(v).max()))
            entropy = entropy_bytes(k)
            row: Row = {"data": data, "c": c, "layout": int(packed.fields[1]), "nonzero": float(np.mean(k != 0))}
            rows.append({**row, "entropy": 8 * entropy / size, "bits": 8 * len(packed.body) / size})
    return rows


def main() -> None:
    args = parse_args(__doc__)
    torch.set_num_threads(1)
    rows = speeds(
        [MILLION, 10 * MILLION] if args.quick else [MILLION, 10 * MILLION, 100 * MILLION], 5 if args.quick else 11
    )
    print("speed, as a share of memcpy of the same vector (layered data)")
    table(rows)
    found = sizes_of(MILLION if args.quick else 4 * MILLION)
    print("dead-zone size, bits a value")
    table(found)
    at_10 = {str(row["codec"]): row for row in rows if row["values"] == "10 M"}
    for name, wanted in BARS.items():
        codec, what = name.split(" ", 1)
        measured = at_10[codec][what] if codec in at_10 else None
        assert isinstance(measured, float)
        bar(f"{name} at 10 M, of memcpy", measured, wanted)
    worst = max(float(row["bits"] or 0) / float(row["entropy"] or 1) for row in found)
    bar("dead-zone size, of order-0 entropy (worst row)", worst, SIZE_SLACK, at_least=False)
    write_json(args, [*rows, *found])


if __name__ == "__main__":
    main()
