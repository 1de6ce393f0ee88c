"""How well a split network learns at level 1: default of credit card clients, three parties.

The same works, turns and signed messages as under encryption, with numbers sent as they are: encrypted runs have equal
activations and gradients to 1e-3 (tests/vertical/test_sealed.py), and this one takes a minute instead of an hour.
Beside it level 0 with the same protection of gradients (bench/vertical_accuracy.py).
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import add_data, bar, parse_args, table, write_json
from vertical_accuracy import GUARDED, PLAIN, Split, central, load, plan_of, split_network

from p2pfl.core.noise import Key
from p2pfl.runs.coordinated import simulate
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.sealed.cipher import Floats, Shape
from p2pfl.vertical.sealed.feature import FeatureHolder
from p2pfl.vertical.sealed.label import LabelHolder
from p2pfl.vertical.sealed.seal import Seal
from p2pfl.vertical.turns.messages import Accord

OUTPUTS = 6


class PlainCipher:
    """A Cipher that seals nothing."""

    def __init__(self, holds: bool) -> None:
        self.key = b"key" if holds else b""

    def turn(self, key: Key) -> None: ...

    def own_key(self) -> bytes:
        return self.key

    def check_key(self, raw: bytes) -> None: ...

    def learn_keys(self, keys: Sequence[bytes]) -> None: ...

    def numbers(self, product: Any) -> int:
        return 1

    def seal(self, key: int, product: Any, matrix: Floats, what: str = "values") -> bytes:
        raw: bytes = np.ascontiguousarray(matrix, np.float64).tobytes()
        return raw

    def seal_sums(self, key: int, product: Any, sums: Floats) -> bytes:
        return self.seal(key, product, sums)

    def seal_mask(self, key: int, product: Any, shape: Shape, seed: Key) -> bytes:
        return np.zeros(shape).tobytes()

    def multiply(
        self, key: int, product: Any, sealed: bytes, shape: Shape, known: Floats, plus: Floats | None = None
    ) -> bytes:
        matrix = np.frombuffer(sealed).reshape(shape) + (0.0 if plus is None else plus)
        return self.seal(key, product, known.T @ matrix)

    def add(self, key: int, product: Any, blobs: Sequence[bytes], shape: Shape) -> bytes:
        return self.seal(key, product, np.sum([np.frombuffer(blob) for blob in blobs], axis=0))

    def open_masked(self, blob: bytes) -> bytes:
        return blob

    def open_own(self, product: Any, blob: bytes, shape: Shape) -> Floats:
        return np.frombuffer(blob).reshape(shape)

    def unmask(self, product: Any, blob: bytes, shape: Shape, seed: Key) -> Floats:
        return np.frombuffer(blob).reshape(shape)


def level_1(data: Split, seed: int, gradients: RowGuard) -> tuple[float, float, float]:
    """AUC of the rows held out; of the attack by length on what went back, and of the worst."""
    plan, signers = plan_of(data, seed, gradients)
    seal = Seal(replace(plan, top_hidden=OUTPUTS))
    accord = Accord(plan.name, plan.parties, seal.digest)
    x = [torch.from_numpy(columns) for columns in data.columns]
    label = LabelHolder(accord, seal, x[0], data.y, PlainCipher(False))
    features = [FeatureHolder(accord, seal, i, x[i], PlainCipher(True)) for i in (1, 2)]
    result = simulate(accord, signers, label, features, seed)
    assert {stop.code for stop in result.stopped.values()} == {0}, result.stopped
    leak = label.leak.report()
    assert leak is not None
    return float(result.metrics["auc"] or 0.0), leak.norm, leak.worst


def main() -> None:
    args: argparse.Namespace = parse_args(__doc__, add_data)
    torch.set_num_threads(1)
    folder = args.data or Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    data = load(folder, 8000 if args.quick else None)
    rows = []
    for seed in (0,) if args.quick else (0, 1, 2):
        whole, _, _ = level_1(data, seed, RowGuard(1.0))
        guarded, norm, worst = level_1(data, seed, GUARDED)
        level_0 = float(split_network(data, seed, PLAIN)[0].metrics["auc"] or 0.0)
        alone = central(data, data.columns[:1], seed)
        found = {"level 0": level_0, "level 1": whole, "guarded": guarded, "norm leak": norm, "worst leak": worst}
        rows.append({"seed": seed, "alone": alone, **found})
    table(rows)
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    bar("level 1 below level 0, both without noise, AUC", mean["level 0"] - mean["level 1"], 0.01, at_least=False)
    bar("level 1 with noise minus label holder alone, AUC", mean["guarded"] - mean["alone"], 0.03)
    bar("attack by length at level 1 with noise, AUC", mean["norm leak"], 0.55, at_least=False)
    bar("worst of all attacks at level 1 with noise, AUC", mean["worst leak"], 0.55, at_least=False)
    write_json(args, rows)


if __name__ == "__main__":
    main()
