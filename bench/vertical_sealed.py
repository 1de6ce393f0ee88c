"""What level 1 costs: a training step of a split network over simulated Peers, with its first top layer sealed or not.

    level 0     embeddings and gradients as they are, clipped
    level 1     the layer under Paillier, 2048 bits, each feature holder with its own key; `short`: 256-bit exponents
    third       with a third party that holds the keys
    CKKS        the same turns under CKKS (TenSEAL), where it is installed

256 rows, two feature holders with 8 numbers each, 4 outputs. Processor seconds of all parties together (one thread) and
bytes on the wire of one more step. The error is the largest difference of z from the layer's plain product.
"""

import argparse
import os
from collections.abc import Callable
from importlib.util import find_spec
from time import process_time
from typing import Any

import numpy as np
import torch
from harness import bar, parse_args, table, write_json

from p2pfl.crypto import ckks
from p2pfl.crypto.paillier_keys import generate
from p2pfl.runs import coordinated
from p2pfl.runs import vertical as plain
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.sealed.cipher import PaillierCipher
from p2pfl.vertical.sealed.feature import FeatureHolder
from p2pfl.vertical.sealed.label import LabelHolder
from p2pfl.vertical.sealed.seal import Seal
from p2pfl.vertical.split.plan import Plan, Schedule
from p2pfl.vertical.turns.keys import Keyring
from p2pfl.vertical.turns.messages import Accord
from p2pfl.vertical.turns.opener import KeyHolder
from p2pfl.wire.keyfile import Signer

SIGNERS = [Signer(bytes([i + 1]) * 32) for i in range(4)]
BATCH, WIDTH, OUTPUTS, COLUMNS = 256, 8, 4, 6
DRAW = np.random.default_rng(0)


def plan_of(steps: int) -> Plan:
    parties = tuple((f"party {i}", SIGNERS[i].node) for i in range(3))
    rows = steps * BATCH + 64
    schedule = Schedule(rows, BATCH, 1, 64 / rows, 1)
    return Plan("bench", parties, (WIDTH,) * 3, schedule, RowGuard(4.0), RowGuard(0.1, 4.0), top_hidden=OUTPUTS)


def columns(rows: int) -> list[np.ndarray]:
    return [DRAW.normal(size=(rows, COLUMNS)).astype(np.float32) for _ in range(3)]


def level_0(steps: int) -> float:
    """Its bytes are not counted."""
    plan = plan_of(steps)
    x = columns(plan.schedule.rows)
    result = plain.simulate(plan, SIGNERS[:3], x, (x[0][:, 0] > 0).astype(np.int64))
    assert {stop.code for stop in result.stopped.values()} == {0}
    return float("nan")


def level_1(steps: int, ciphers: list[Any], third: bool, short: bool, errors: list[float]) -> float:
    seal = Seal(plan_of(steps), exponent_bits=256 if short else None)
    x = [torch.from_numpy(one) for one in columns(seal.plan.schedule.rows)]
    names = tuple((f"party {i}", SIGNERS[i].node) for i in range(3 + third))
    accord = Accord("bench", names, seal.digest, third)
    label = LabelHolder(accord, seal, x[0], (x[0][:, 0] > 0).numpy().astype(np.int64), ciphers[0])
    works: list[Any] = [FeatureHolder(accord, seal, i, x[i], ciphers[i]) for i in (1, 2)]
    learn, features = label._learn, list(works)

    def seen(state: Any, rows: Any, z: torch.Tensor, key: Any) -> Any:
        if state.step == 0:  # before anything has moved: E is 0
            own = [f.bottom.embed(f.start().part, f.features[rows]).double().numpy() for f in features]
            wanted = sum(e @ v for e, v in zip(own, state.v, strict=True))
            errors.append(float(np.abs(z.numpy() - wanted).max()))
        return learn(state, rows, z, key)

    label._learn = seen  # type: ignore[method-assign]
    works += [KeyHolder(ciphers[3])] if third else []
    result = coordinated.simulate(accord, SIGNERS[: len(names)], label, works)
    assert {stop.code for stop in result.stopped.values()} == {0}, result.stopped
    return float(result.bytes_sent)


def step(run: Callable[[int], float], few: int, many: int) -> tuple[float, float]:
    """Seconds and megabytes of one more step."""
    spent, sent = [], []
    for steps in (few, many):
        start = process_time()
        sent.append(run(steps))
        spent.append(process_time() - start)
    return (spent[1] - spent[0]) / (many - few), (sent[1] - sent[0]) / (many - few) / 1e6


def main() -> None:
    args: argparse.Namespace = parse_args(__doc__)
    torch.set_num_threads(1)
    keys = [generate(2048, os.urandom) for _ in range(3)]

    def by_paillier(third: bool, short: bool) -> list[Any]:
        bits = 256 if short else None
        held = {3: keys[0]} if third else {1: keys[1], 2: keys[2]}
        return [PaillierCipher(Keyring(2048, (i, held[i]) if i in held else None, bits)) for i in range(3 + third)]

    errors: dict[str, list[float]] = {}

    def sealed(name: str, make: Callable[[], list[Any]], third: bool = False, short: bool = False) -> Any:
        found = errors.setdefault(name, [])
        return lambda steps: level_1(steps, make(), third, short, found)

    sides: dict[str, Callable[[int], float]] = {
        "level 1": sealed("level 1", lambda: by_paillier(False, False)),
        "level 1, short": sealed("level 1, short", lambda: by_paillier(False, True), short=True),
        "level 1, third": sealed("level 1, third", lambda: by_paillier(True, False), third=True),
    }
    if find_spec("tenseal") is not None:
        made = [ckks.generate(), ckks.generate()]
        sides["level 1, CKKS"] = sealed(
            "level 1, CKKS", lambda: [ckks.CkksCipher((i, made[i - 1]) if i else None) for i in range(3)]
        )
    else:
        print("CKKS: not compared: TenSEAL is not installed")
    level_0(2)  # warms torch up
    base, _ = step(level_0, 2, 102)
    rows: list[dict[str, Any]] = [{"side": "level 0", "s a step": base, "MB a step": None, "of level 0": 1.0}]
    for name, run in sides.items():
        seconds, sent = step(run, 1, 3 if args.quick else 7)
        row = {"side": name, "s a step": seconds, "MB a step": sent, "of level 0": seconds / base}
        rows.append(row | {"error": max(errors[name])})
    table([row | {"error": row.get("error")} for row in rows])
    for name, found in errors.items():
        bar(f"{name}, largest error of z", max(found), 1e-3, at_least=False)
    write_json(args, rows)


if __name__ == "__main__":
    main()
