"""The forecasts that are compared in a city: of networks of districts, of districts alone, of one model over all, and
of what anybody would try first. Knows training and forecasts; knows no table.

Legend: D districts, P values in a model. Errors are in deviations of the sensor until `misses`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import p2pfl
from p2pfl.runs.apart import train_apart

HERE = Path(__file__).resolve().parent
QUICK_ROUNDS = 40
ALONE_ROUNDS = 100
"""Of the network's 300: longer, and a district alone forecasts worse."""
OTHER_ROUNDS = (50, 200)
POOLED_STEPS = 2
"""Of one machine with all the data, for each of a node's."""
NETWORK, COPY, ALONE, ALONE_3, POOLED = "network", "own copy", "alone", "three alone", "pooled"
MIX = "network, copy, alone"
MEANS = {
    ALONE_3: (ALONE, "alone 1", "alone 2"),
    MIX: (NETWORK, COPY, ALONE),
}
"""Forecasts that are means of others."""
OTHER_MEANS = {"network, alone": (NETWORK, ALONE), "copy, alone": (COPY, ALONE), "network, copy": (NETWORK, COPY)}

Errors = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """models: by name, (D, P), or (1, P) of a model for all."""

    task: Any
    model: Any
    models: dict[str, Tensor]
    choosing: bool
    bytes_per_node: float

    def misses(self) -> dict[str, list[Errors]]:
        """Of each forecast, by district: forecast minus measured, in the city's unit."""
        parts = [self.task.test.of(district) for district in range(self.task.city.num_districts)]
        said = {name: self._said(rows, parts) for name, rows in self.models.items()}
        for name, of in (MEANS | (OTHER_MEANS if self.choosing else {})).items():
            said[name] = [np.mean(values, axis=0) for values in zip(*(said[other] for other in of), strict=True)]
        return {n: [p.spread * (d - p.y) for p, d in zip(parts, by, strict=True)] for n, by in said.items()}

    def forecast(self, names: Sequence[str], district: int) -> Errors:
        """The mean of these models' forecasts for a district, in the city's unit, sensor by sensor at each time."""
        part = self.task.test.of(district)
        mean: Errors = np.mean([self._said(self.models[name], [part], district)[0] for name in names], axis=0)
        return np.asarray(part.usual + part.spread * mean)

    @torch.no_grad()
    def _said(self, rows: Tensor, parts: Sequence[Any], first: int = 0) -> list[Errors]:
        found = []
        for district, part in enumerate(parts, start=first):
            out = self.model.call(rows[min(district, len(rows) - 1)], torch.from_numpy(part.x))
            found.append(out.squeeze(1).double().numpy())
        return found


def train(task: Any, folder: Path | None, quick: bool, choosing: bool) -> Trained:
    """The city's network, its districts' copies, each district alone, and one model over everybody's data."""
    args: dict[str, Any] = {"city": task.city.name, "quick": quick, "choosing": choosing}
    args |= {"folder": str(folder)} if folder else {}
    changes: dict[str, Any] = {"data.args": args, "model.input_shape": [task.train.x.shape[1]]}
    changes |= {"pace.rounds": QUICK_ROUNDS, "pace.evaluate": QUICK_ROUNDS, "personal.steps": 50} if quick else {}
    num = task.city.num_districts
    result = p2pfl.simulate(HERE / "network.toml", engine="dense", nodes=num, **changes)
    run = result.followed.run
    shared = run.shared
    everything = torch.cat(list(run.shares)).sort().values
    copies = torch.stack([copy.x for copy in run.copies.values()])
    models = {NETWORK: torch.stack(list(run.models().values())), COPY: copies}
    short = shared if quick else lasting(shared, ALONE_ROUNDS)
    for draw, name in enumerate(MEANS[ALONE_3]):
        models[name] = train_apart(short, run.held, run.shares, draw=draw)
    for rounds in OTHER_ROUNDS if choosing and not quick else ():
        models[f"alone, {rounds} rounds"] = train_apart(lasting(shared, rounds), run.held, run.shares)
    models[POOLED] = train_apart(shared, run.held, [everything], POOLED_STEPS * shared.config.train.steps)
    return Trained(task, shared.model, models, choosing, result.rounds[-1]["bytes_per_node"])


def lasting(shared: Any, rounds: int) -> Any:
    """The same network's settings with another number of rounds."""
    pace = replace(shared.config.pace, rounds=rounds)
    return replace(shared, config=replace(shared.config, pace=pace))


def plain(city: Any, num: int) -> dict[str, list[Errors]]:
    """Misses by district of the last value, and of one ridge regression on the last `past` values of all sensors: no
    profile, no clock. What anybody would try first."""
    z, steps = city.series, len(city.series)
    cut = int(steps * 0.8)
    t = np.arange(city.past - 1 + city.ahead, steps)
    x = np.stack([z[t - city.ahead - j] for j in range(city.past)] + [np.ones((len(t), z.shape[1]))], axis=2)
    learn, rest = t < cut, t >= cut
    flat, y = x[learn].reshape(-1, x.shape[2]), z[t[learn]].reshape(-1)
    weights = np.linalg.solve(flat.T @ flat + np.eye(flat.shape[1]), flat.T @ y)
    truth = z[t[rest]]
    by_sensor = {"last value": x[rest][:, :, 0] - truth, "ridge, pooled": x[rest] @ weights - truth}
    return {f: [m[:, city.district == d].reshape(-1) for d in range(num)] for f, m in by_sensor.items()}
