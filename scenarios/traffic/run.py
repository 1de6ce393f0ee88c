"""Forecast traffic in the districts of a city that share a model and no measurement, beside each alone and pooled.

Every district is a node of network.toml beside this file. Compared are errors on the last fifth of the time, in the
city's unit. What a district does with the network's model, and how long it trains alone, was chosen by `--choose`: the
same on the first four fifths of the time, of which the last fifth is forecast, so that nothing is chosen by what it is
judged by.
"""

import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import numpy as np  # noqa: E402
from common import Bar, Outcome, Row, Table, finish, parse_args, show  # noqa: E402
from forecasts import ALONE, ALONE_3, COPY, MIX, NETWORK, POOLED, Errors, Trained, plain, train  # noqa: E402

from p2pfl.learn.names import resolve  # noqa: E402

task_of = resolve("task.py:task_of", HERE)
REAL = ("los_angeles", "hangzhou", "new_york")
SHOWN = ("last value", "ridge, pooled", ALONE, ALONE_3, NETWORK, COPY, MIX, POOLED)
"""The rows of a table; with --choose there are more."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Of one city. rmse and mae by forecast, for each district; whole: rmse and mae over all sensors at once."""

    trained: Trained
    rmse: dict[str, Errors]
    mae: dict[str, Errors]
    whole: dict[str, tuple[float, float]]

    def better(self, forecast: str, than: str) -> float:
        """In which share of the districts the error (RMSE) is lower."""
        return float((self.rmse[forecast] < self.rmse[than]).mean())


def compare(name: str, args: Namespace) -> Compared:
    """Train the network of one city, every district alone, and one model over all; judge their forecasts."""
    task = task_of(name, args.data, args.quick, args.choose)
    num = task.city.num_districts
    print(f"{name}: {num} districts, {len(task.train.y):,} samples to learn from, {len(task.test.y):,} to forecast")
    trained = train(task, args.data, args.quick, args.choose)
    misses = trained.misses() | plain(task.city, num)
    return Compared(
        trained=trained,
        rmse={f: np.array([np.sqrt(np.mean(m**2)) for m in by]) for f, by in misses.items()},
        mae={f: np.array([np.mean(np.abs(m)) for m in by]) for f, by in misses.items()},
        whole={f: whole(np.concatenate(by)) for f, by in misses.items()},
    )


def whole(misses: Errors) -> tuple[float, float]:
    return float(np.sqrt(np.mean(misses**2))), float(np.mean(np.abs(misses)))


def table(found: Compared, choosing: bool) -> Table:
    rows: list[Row] = [
        {
            "forecast": forecast,
            "RMSE, mean over districts": round(float(found.rmse[forecast].mean()), 3),
            "MAE, mean over districts": round(float(found.mae[forecast].mean()), 3),
            "better than alone": "" if forecast == ALONE else f"{found.better(forecast, ALONE):.0%}",
            "better than three alone": "" if forecast == ALONE_3 else f"{found.better(forecast, ALONE_3):.0%}",
            "RMSE, all sensors": round(found.whole[forecast][0], 3),
            "MAE, all sensors": round(found.whole[forecast][1], 3),
        }
        for forecast in (found.rmse if choosing else SHOWN)
    ]
    city = found.trained.task.city
    note = f"{city.num_districts} districts, {city.series.shape[1]} sensors, in {city.unit}; "
    title = city.title + (", choosing: the fifth before" if choosing else "")
    return Table(title, rows, note + f"a district sent {found.trained.bytes_per_node / 1e6:.2f} MB in all.")


def bars(found: Compared) -> list[Bar]:
    mean = {forecast: float(errors.mean()) for forecast, errors in found.rmse.items()}
    name = found.trained.task.city.name
    return [
        Bar(f"{name}, error with the network over alone", mean[MIX] / mean[ALONE], 1.0, at_least=False),
        Bar(f"{name}, districts better than alone", found.better(MIX, ALONE), 0.8),
        Bar(f"{name}, error with the network over three alone", mean[MIX] / mean[ALONE_3], 1.0, at_least=False),
        Bar(f"{name}, error with the network over pooled", mean[MIX] / mean[POOLED], 1.03, at_least=False),
        Bar(f"{name}, error of the common model over pooled", mean[NETWORK] / mean[POOLED], 1.03, at_least=False),
    ]


def main() -> None:
    args = parse_args(__doc__, data="traffic/*.npz", cities=REAL, choose=True)
    outcomes = []
    for name in (args.city or REAL) if args.data else ("synthetic",):
        if outcomes:
            show(args, HERE, outcomes[-1])
        found = compare(name, args)
        key = f"{name}, choosing" if args.choose else name
        outcomes.append(Outcome(key, [table(found, args.choose)], [] if args.choose else bars(found)))
        if args.record and not args.choose:
            from pictures import draw

            outcomes[-1].pictures = {f"{name}.svg": draw(found)}
    finish(args, HERE, *outcomes)


if __name__ == "__main__":
    main()
