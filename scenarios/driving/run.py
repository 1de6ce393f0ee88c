"""From clear roads to fog, rain and night: four cars learn road signs in clear weather, four others go on from there.

The four other cars have few pictures, all of them of bad weather. Compared on the same test signs in each weather: the
clear network's model as it is; one machine with all bad pictures that begins from nothing; one machine with all bad
pictures that goes on from the clear model; and the four cars that go on from it by gossip, each with its own pictures.
The documents are examples/adapting/weather_*.toml.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import made_up  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from common import Bar, Outcome, Row, Table, finish, parse_args  # noqa: E402

import p2pfl  # noqa: E402
from p2pfl.learn.names import resolve  # noqa: E402
from p2pfl.learn.warm import read_tensors  # noqa: E402

DOCUMENTS = HERE.parent.parent / "examples" / "adapting"
FILE = "gtsrb-weather/gtsrb_weather.npz"
SKIES = ("clean", "fog", "rain", "night")
CARS = 4
SEEDS = (1,)
AS_IS, SCRATCH, CENTRAL, GOSSIP = (
    "the clear network's model as it is",
    "one machine, all bad pictures, from nothing",
    "one machine, all bad pictures, from the clear model",
    "four cars by gossip, from the clear model",
)
Tests = Mapping[str, torch.Tensor]
Accuracies = dict[str, dict[str, float]]


def one_seed(file: Path, seed: int, quick: bool, scratch: Path) -> tuple[Accuracies, float]:
    """The accuracy of each way in each weather, and the megabytes that a car sent in bad weather."""
    rounds = {"clear": 12, "scratch": 12, "adverse": 6} if quick else {"clear": 150, "scratch": 60, "adverse": 30}
    common: dict[str, Any] = {"seed": seed, "data.path": str(file)}
    clear = run("weather_clear.toml", scratch / "clear", CARS, common | {"pace.rounds": rounds["clear"]})[0]
    bad = common | {"data.args": {"seed": seed}}
    begun = bad | {"model.start": str(clear / "n0"), "pace.rounds": rounds["adverse"]}
    nothing = bad | {"data.source": f"{DOCUMENTS / 'weather.py'}:adverse", "pace.rounds": rounds["scratch"]}
    tests = tests_of(file)
    gossip, sent = run("weather_adverse.toml", scratch / "gossip", CARS, begun)
    found = {
        AS_IS: judged(clear / "n0", tests),
        SCRATCH: judged(run("weather_clear.toml", scratch / "scratch", 1, nothing)[0] / "n0", tests),
        CENTRAL: judged(run("weather_adverse.toml", scratch / "central", 1, begun)[0] / "n0", tests),
        GOSSIP: mean_of([judged(gossip / f"n{car}", tests) for car in range(CARS)]),
    }
    return found, sent


def run(document: str, out: Path, nodes: int, changes: Mapping[str, Any]) -> tuple[Path, float]:
    """Simulate it; the folder it left, and the megabytes a node sent."""
    result = p2pfl.simulate(DOCUMENTS / document, nodes=nodes, **changes)
    result.save(out)
    return out, result.summary["bytes_sent_per_node"] / 1e6


def tests_of(file: Path) -> Tests:
    """Pictures of the test signs in each weather, and their labels."""
    with np.load(file, allow_pickle=False) as z:
        shots = {sky: torch.from_numpy(z[f"test_{sky}_x"].astype(np.float32) / 255 - 0.5) for sky in SKIES}
        return {sky: x.permute(0, 3, 1, 2) for sky, x in shots.items()} | {"y": torch.from_numpy(z["test_y"]).long()}


def judged(node: Path, tests: Tests) -> dict[str, float]:
    """The accuracy of a node's model in each weather."""
    net = resolve("weather.py:net", DOCUMENTS)()
    net.load_state_dict(read_tensors(node / "model.safetensors"))
    with torch.no_grad():
        return {sky: float((net(tests[sky]).argmax(1) == tests["y"]).float().mean()) for sky in SKIES}


def mean_of(found: list[dict[str, float]]) -> dict[str, float]:
    return {sky: fmean(one[sky] for one in found) for sky in SKIES}


def outcome_of(found: list[tuple[Accuracies, float]], data: str) -> Outcome:
    means = {way: mean_of([one[way] for one, _ in found]) for way in found[0][0]}
    rows: list[Row] = [{"way": way, **{sky: round(v, 3) for sky, v in mean.items()}} for way, mean in means.items()]
    seeds = f"Means of {len(found)} seeds" if len(found) > 1 else "One seed"
    note = f"{seeds}; a car sent {fmean(sent for _, sent in found):.2f} MB in bad weather."
    what = {"real": "German road signs", "synthetic": "Made-up road signs"}[data]
    less = {sky: means[GOSSIP][sky] - means[CENTRAL][sky] for sky in SKIES[1:]}
    bars = [Bar(f"{data}, gossip minus one machine, {sky}", value, -0.03) for sky, value in less.items()]
    bad = [fmean(means[way][sky] for sky in SKIES[1:]) for way in (GOSSIP, AS_IS, SCRATCH)]
    bars.append(Bar(f"{data}, gossip minus the clear model, bad weather", bad[0] - bad[1], 0.1))
    bars.append(Bar(f"{data}, gossip minus from nothing, bad weather", bad[0] - bad[2], 0.05))
    return Outcome(data, [Table(f"{what}: accuracy in each weather", rows, note)], bars)


def main() -> None:
    args: Namespace = parse_args(__doc__, data=FILE)
    torch.set_num_threads(1)
    data = "real" if args.data else "synthetic"
    with TemporaryDirectory(prefix="p2pfl-scenario-") as folder:
        file = args.data / FILE if args.data else made_up.write(Path(folder) / "signs.npz", args.quick)
        if not file.is_file():
            raise SystemExit(f"there is no file {file}; give the folder of data sets with --data DIR")
        seeds = SEEDS[:1] if args.quick else SEEDS
        outcome = outcome_of([one_seed(file, seed, args.quick, Path(folder) / str(seed)) for seed in seeds], data)
        if args.record and not args.data:  # photographs of others are not ours to hand on
            from pictures import draw

            outcome.pictures = {f"{data}.png": draw(file)}
    finish(args, HERE, outcome)


if __name__ == "__main__":
    main()
