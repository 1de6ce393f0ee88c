"""From clear road signs to fog, rain and night: four cars learn 14 signs in clear weather, four others with about 570
bad pictures between them go on from there. The photographs are real, the weather is laid over them by computation.

    as is       the clear network's model
    scratch     the target's pictures pooled on one machine, from nothing
    central     the clear model, fine-tuned on all target pictures on one machine
    half way    the same, and then the mean of the clear and the fine-tuned model (`interpolate = 0.5`)
    gossip      the clear model, fine-tuned by the four cars over gossip, and then likewise

All have the same settings and as many steps a machine. In each weather gossip is compared with the better of the two
central ways. Accuracy on the same 576 test signs in each weather, mean of the seeds. `--cache DIR` keeps the clear
models.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from harness import add_data, bar, parse_args, table, write_json
from torch import Tensor

import p2pfl
from p2pfl.learn.names import resolve
from p2pfl.learn.warm import read_tensors

HERE = Path(__file__).resolve().parent.parent / "examples" / "adapting"
FILE = "gtsrb-weather/gtsrb_weather.npz"
SKIES = ("clean", "fog", "rain", "night")
CARS = 4
WAYS = {"central": (1, 1.0), "half way": (1, 0.5), "gossip": (CARS, 0.5)}
"""Machines, and the share of what was learned."""
Tests = Mapping[str, tuple[Tensor, Tensor]]


def extra(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the clear networks here, and use those there")


def tests_of(file: Path) -> Tests:
    with np.load(file, allow_pickle=False) as z:
        y = torch.from_numpy(z["test_y"].astype(np.int64))
        shots = {sky: z[f"test_{sky}_x"].astype(np.float32) / 255 - 0.5 for sky in SKIES}
    return {sky: (torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), y) for sky, x in shots.items()}


def judged(model: Path, tests: Tests) -> dict[str, float]:
    """Accuracy of a node's model in each weather."""
    module = resolve("weather.py:net", HERE)()
    module.load_state_dict(read_tensors(model))
    with torch.no_grad():
        return {sky: float((module(x).argmax(1) == y).float().mean()) for sky, (x, y) in tests.items()}


def mean_of(run: Path, tests: Tests) -> dict[str, float]:
    found = [judged(node.parent, tests) for node in sorted(run.glob("*/model.safetensors"))]
    return {sky: fmean(one[sky] for one in found) for sky in SKIES}


def run(document: str, out: Path, nodes: int, changes: Mapping[str, Any]) -> float:
    """Runs it, leaves its folder in `out`; kilobytes that a node sent."""
    result = p2pfl.simulate(HERE / document, nodes=nodes, **changes)
    result.save(out)
    return float(result.summary["bytes_sent_per_node"]) / 1e3


def clear_network(seed: int, cache: Path, changes: Mapping[str, Any]) -> Path:
    out = cache / f"clear-{seed}-{changes['pace.rounds']}"
    if not (out / "summary.json").exists():
        run("weather_clear.toml", out, CARS, changes)
    return out


def of_seed(seed: int, quick: bool, cache: Path, scratch: Path, file: Path, tests: Tests) -> list[dict[str, Any]]:
    """One row a way."""
    common: dict[str, Any] = {"seed": seed, "data.path": str(file)}
    clear = clear_network(seed, cache, common | {"pace.rounds": 12 if quick else 150})
    target = common | {"data.args": {"seed": seed}, "model.start": str(clear / "n0"), "pace.rounds": 6 if quick else 30}
    rows: list[dict[str, Any]] = [{"way": "as is", "kB a node": 0.0, **judged(clear / "n0", tests)}]
    fresh = {key: value for key, value in target.items() if key != "model.start"}
    fresh |= {"data.source": f"{HERE / 'weather.py'}:adverse", "pace.rounds": 12 if quick else 60}
    sent = run("weather_clear.toml", scratch / f"scratch-{seed}", 1, fresh)
    rows.append({"way": "scratch", "kB a node": sent, **mean_of(scratch / f"scratch-{seed}", tests)})
    for name, (machines, share) in WAYS.items():
        out = scratch / f"{name}-{seed}"
        sent = run("weather_adverse.toml", out, machines, target | {"model.interpolate": share})
        rows.append({"way": name, "kB a node": sent, **mean_of(out, tests)})
    return rows


def main() -> None:
    args = parse_args(__doc__, extra)
    torch.set_num_threads(1)
    file = ((args.data or Path(__file__).resolve().parents[2] / "shared" / "data") / FILE).absolute()
    tests, found = tests_of(file), []
    with TemporaryDirectory() as folder:
        cache = args.cache or Path(folder) / "clear"
        for seed in range(1 if args.quick else 3):
            for row in of_seed(seed, args.quick, cache, Path(folder), file, tests):
                found.append({"seed": seed, **row})
    table(found)
    ways = list(dict.fromkeys(row["way"] for row in found))
    means = {
        way: {key: fmean(row[key] for row in found if row["way"] == way) for key in (*SKIES, "kB a node")}
        for way in ways
    }
    print()
    table([{"way": way, **mean} for way, mean in means.items()])
    for sky in SKIES[1:]:
        central = max(means["central"][sky], means["half way"][sky])
        bar(f"gossip minus the better central, {sky}", means["gossip"][sky] - central, -0.03)
    bar("gossip minus as is, clean", means["gossip"]["clean"] - means["as is"]["clean"], -0.02)
    write_json(args, found)


if __name__ == "__main__":
    main()
