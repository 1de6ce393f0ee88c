"""The encrypted masked layer, batch 256 x 20 inputs -> 16 outputs: against `phe` and TenSEAL's CKKS, in one run.

One layer is everything both sides compute: encrypt the batch, multiply by the weights, add masks, make fresh, decrypt,
take the masks away. Traffic is what crosses the wire: the batch up, the masked products down, the opened ones back up.

    phe        one value to a ciphertext, timed on two rows and scaled
    TenSEAL    one ciphertext for each column of the batch, N = 8192 (the smallest that is precise), a mask added; run
               by the Python given with --tenseal, from an environment of its own (pip install tenseal numpy)
    short      exponents of 256 bits by explicit choice
    threads    ours, decrypting with a thread for each core (TenSEAL's operations on single vectors use one)
"""

import argparse
import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from harness import bar, parse_args, race, table, write_json
from numpy.typing import NDArray

from p2pfl.crypto import paillier_layer as layer
from p2pfl.crypto.packing import Fixed
from p2pfl.crypto.paillier import Encryptor, HolderEncryptor, PublicEncryptor
from p2pfl.crypto.paillier_keys import PrivateKey, generate

BATCH, INPUTS, OUTPUTS = 256, 20, 16
Matrix = NDArray[np.float64]
Row = dict[str, str | float | None]
OURS = ("ours", "ours, short", "ours, threads")
TENSEAL = Path(__file__).parent / "vertical_tenseal.py"


def main() -> None:
    args = parse_args(__doc__, add_tenseal)
    repeats = 3 if args.quick else 7
    rng = np.random.default_rng(1)
    x, w = rng.uniform(-4, 4, (BATCH, INPUTS)), rng.uniform(-1, 1, (INPUTS, OUTPUTS))
    key = generate(2048, os.urandom)
    product = layer.Product(Fixed(16, 16.0), Fixed(16, 8.0), INPUTS, key.public.bits)
    usual = (HolderEncryptor(key, os.urandom), PublicEncryptor(key.public, os.urandom))
    short = (HolderEncryptor(key, os.urandom, 256), PublicEncryptor(key.public, os.urandom, 256))
    spent: dict[str, list[float]] = {name: [] for name in ("phe", *OURS, "TenSEAL")}
    theirs: dict[str, float] = {}
    for _ in range(repeats):  # all sides take turns
        times = race({"phe": phe_rows(key, x[:2], w), **own(key, product, usual, short, x, w)}, repeats=1, warmup=0)
        spent["phe"].append(times["phe"] * BATCH / 2)
        for name in OURS:
            spent[name].append(times[name])
        theirs = tenseal(args.tenseal)
        spent["TenSEAL"] += [theirs["seconds"]] if theirs else []
    result = run(key, product, usual, x, w)
    seconds = {name: median(found) for name, found in spent.items() if found}
    megabytes = {"phe": phe_bytes() / 1e6} | dict.fromkeys(OURS, result.bytes / 1e6)
    megabytes |= {"TenSEAL": theirs["bytes"] / 1e6} if theirs else {}
    rows: list[Row] = [
        {"layer": n, "s": s, "MB": megabytes[n], "of phe": seconds["phe"] / s} for n, s in seconds.items()
    ]
    table(rows)
    print()
    steps: list[Row] = [{"step": name, "s": s} for name, s in result.steps.items()]
    table(steps)
    print(f"\nlargest error {float(np.abs(result.z - x @ w).max()):.1e}")
    bar("time of phe over ours", seconds["phe"] / seconds["ours"], 60)
    if theirs:
        bar("time of ours over TenSEAL's", seconds["ours"] / seconds["TenSEAL"], 3, at_least=False)
        bar("the same with short exponents", seconds["ours, short"] / seconds["TenSEAL"], 3, at_least=False)
        bar("the same with threads", seconds["ours, threads"] / seconds["TenSEAL"], 3, at_least=False)
        bar("bytes of TenSEAL's over ours", theirs["bytes"] / result.bytes, 20)
    else:
        print("TenSEAL: not compared: --tenseal PYTHON names none that has it")
    write_json(args, [*rows, *steps])


def add_tenseal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tenseal", type=Path, metavar="PYTHON", help="a Python that has TenSEAL; else not compared")


class Result:
    """One layer: its output, bytes on the wire, and seconds by step."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self.bytes = 0
        self.z = np.zeros((BATCH, OUTPUTS))
        self._since = perf_counter()

    def lap(self, name: str, sent: int = 0) -> None:
        now = perf_counter()
        self.steps[name], self._since = now - self._since, now
        self.bytes += sent


def run(
    key: PrivateKey,
    product: layer.Product,
    by: tuple[Encryptor, Encryptor],
    x: Matrix,
    w: Matrix,
    threads: Executor | None = None,
) -> Result:
    """Both sides, one after the other."""
    owner, labels = by
    result = Result()
    up = layer.encrypt_matrix(owner, product, x.T)
    result.lap("encrypt", len(up))
    hidden = layer.read_matrix(key.public, product, up, x.T.shape)
    result.lap("check")
    down, masks = layer.multiply(labels, product, hidden, w, os.urandom)
    result.lap("multiply, mask, make fresh", len(down))
    answer = layer.open_masked(key, product, down, (w.shape[1], len(x)), threads=threads)
    result.lap("decrypt", len(answer))
    result.z = layer.unmask(product, answer, masks, (w.shape[1], len(x))).T
    result.lap("unmask")
    return result


def own(
    key: PrivateKey,
    product: layer.Product,
    usual: tuple[Encryptor, Encryptor],
    short: tuple[Encryptor, Encryptor],
    x: Matrix,
    w: Matrix,
) -> dict[str, Callable[[], object]]:
    pool = ThreadPoolExecutor(os.cpu_count())
    return {
        "ours": lambda: run(key, product, usual, x, w),
        "ours, short": lambda: run(key, product, short, x, w),
        "ours, threads": lambda: run(key, product, usual, x, w, pool),
    }


def phe_rows(key: PrivateKey, x: Matrix, w: Matrix) -> Callable[[], object]:
    """The same for a few rows, as its users write it."""
    try:
        import phe
    except ModuleNotFoundError:
        raise SystemExit("bench/vertical.py needs phe: pip install phe") from None
    public = phe.PaillierPublicKey(int(key.public.n))
    private = phe.PaillierPrivateKey(public, int(key.p), int(key.q))

    def rows() -> list[list[float]]:
        found = []
        for row in x.tolist():
            hidden = [public.encrypt(v) for v in row]
            sums = [sum(h * k for h, k in zip(hidden, column, strict=True)) for column in w.T.tolist()]
            found.append([private.decrypt(s) for s in sums])
        return found

    return rows


def phe_bytes() -> int:
    """Ciphertexts of 512 bytes up and down, and doubles back."""
    return BATCH * (INPUTS + OUTPUTS) * 512 + BATCH * OUTPUTS * 8


def tenseal(python: Path | None) -> dict[str, float]:
    """Seconds and bytes of one layer; nothing where there is no TenSEAL."""
    if python is None:
        return {}
    done = subprocess.run([str(python), str(TENSEAL)], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise SystemExit(f"{python} cannot run TenSEAL: {done.stderr.strip().splitlines()[-1:]}")
    found = json.loads(done.stdout)
    return {"seconds": float(found["seconds"]), "bytes": float(found["bytes"])}


if __name__ == "__main__":
    main()
