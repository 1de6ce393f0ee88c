"""What the sensors of a city measured, and which district each is in: three real cities, and one that is made up.

Knows files and arrays; knows no forecast and no network. Legend: T time steps, S sensors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CITIES = ("synthetic", "los_angeles", "hangzhou", "new_york")
PAIRS_MIN = 5.0
"""Trips an hour between two zones of New York, below which the pair is left out."""


@dataclass(frozen=True, slots=True, eq=False)
class City:
    """series (T, S); district (S) is 0, 1, ..; near (S, S) weights, how strongly sensors go together (0: not at all).

    `day` time steps make a day. A forecast is for `ahead` steps after the last of `past` measurements, and may look at
    the deviations `lags` steps before its own time as well.
    """

    name: str
    title: str
    unit: str
    series: Floats
    district: NDArray[np.int64]
    near: Floats
    day: int
    ahead: int
    past: int
    lags: tuple[int, ...] = ()

    @property
    def num_districts(self) -> int:
        return int(self.district.max()) + 1


def city(name: str, folder: Path | None = None, quick: bool = False) -> City:
    """The city of that name; real ones are read from `folder`, which holds traffic/*.npz. `quick`: fewer districts."""
    if name == "synthetic":
        return synthetic(districts=6 if quick else 16)
    if folder is None:
        raise SystemExit(f"{name}: expected --data DIR with traffic/*.npz, got none")
    return {"los_angeles": los_angeles, "hangzhou": hangzhou, "new_york": new_york}[name](folder / "traffic")


def los_angeles(folder: Path) -> City:
    """Speeds at 207 loop detectors every five minutes; 20 districts of detectors that are near by road."""
    from sklearn.cluster import SpectralClustering

    found = _read(folder / "los_angeles_speed.npz")
    near = np.asarray(found["adjacency"], np.float64)
    # A little of everything joins what the roads leave in pieces.
    cut = SpectralClustering(20, affinity="precomputed", random_state=0).fit_predict(near + 1e-6)
    series = np.asarray(found["speed"], np.float64)
    return City("los_angeles", "Los Angeles, speed in 15 minutes", "mph", series, _in_order(cut), near, 288, 3, 12)


def hangzhou(folder: Path) -> City:
    """Passengers who enter each of 80 metro stations in ten minutes; every station is a district."""
    inflow = np.asarray(_read(folder / "hangzhou_metro_flow.npz")["inflow"], np.float64)
    series = inflow.transpose(1, 2, 0).reshape(-1, len(inflow))
    alone = np.arange(series.shape[1])
    title = "Hangzhou, passengers in the next 10 minutes"
    return City("hangzhou", title, "passengers", series, alone, np.eye(len(alone)), 108, 1, 12, (108,))


def new_york(folder: Path) -> City:
    """Taxi trips between pairs of zones in an hour; a district is a zone with the trips that begin there."""
    trips = np.asarray(_read(folder / "nyc_taxi_trips.npz")["trips"], np.float64)
    busy = trips.mean(axis=2) > PAIRS_MIN
    start = np.repeat(np.arange(len(trips))[:, None], trips.shape[1], axis=1)[busy]
    near = (start[:, None] == start[None, :]).astype(np.float64)
    title = "New York, taxi trips in the next hour"
    return City("new_york", title, "trips", trips[busy].T, _in_order(start), near, 24, 1, 24, (24, 168))


def synthetic(districts: int = 16, sensors: int = 3, days: int = 12, seed: int = 7) -> City:
    """Speeds that nobody measured: rush hours that differ by sensor, and congestion that comes, grows, spreads within
    its district and dissolves by one law everywhere, faster where roads are freer."""
    rng = np.random.default_rng(seed)
    day, count = 96, districts * sensors
    district = np.repeat(np.arange(districts), sensors)
    near = (district[:, None] == district[None, :]).astype(np.float64)
    slot = np.arange(day) / day
    peaks = rng.normal((0.34, 0.73), 0.025, (count, 2))
    depth = rng.uniform(8.0, 22.0, (count, 2))
    usual = 62.0 - np.stack(
        [(depth[i] * np.exp(-(((slot[:, None] - peaks[i]) / 0.06) ** 2))).sum(1) for i in range(count)], 1
    )
    jam, rows = np.zeros(count), []
    for step in range(day * days):
        calm = usual[step % day] / 62.0
        around = near @ jam / near.sum(1)
        hit = (rng.random(count) < 0.012 / calm) * rng.gamma(2.0, 5.0, count)
        grown = 0.10 * jam * (1 - calm) * 4 - 0.004 * jam**2 / calm
        jam = np.clip(0.90 * jam + 0.14 * (around - jam) + grown + hit, 0.0, 45.0)
        rows.append(np.clip(usual[step % day] - jam + rng.normal(0, 1.2, count), 3.0, 75.0))
    title = "A made-up city, speed in 30 minutes"
    return City("synthetic", title, "mph", np.stack(rows), district, near, day, 2, 8)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SystemExit(f"there is no file {path}; give the folder of data sets with --data DIR")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _in_order(labels: Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
    """The same groups numbered by first appearance: what numbers a library happens to give them does not matter."""
    first: dict[int, int] = {}
    return np.array([first.setdefault(int(label), len(first)) for label in labels], np.int64)
