"""A city's measurements as a learning task for p2pfl: what network.toml names as its data and its partition.

What is learned is how a sensor strays from its own usual day: z = (measured - mean) / deviation is split into the day's
profile, which every sensor averages at home from its own past, and the rest d. A sample holds the last `past` values of
d and the mean of d over the sensors near by in the same district; the target is d, `ahead` steps later. In training, a
day's profile leaves that day out, or the answer would be in the question.

Nothing here crosses from one district to another. Legend: T time steps, S sensors, n samples.
"""

import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from p2pfl.learn.data import Data, Source

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # p2pfl reads this file by its path, wherever it was started

from cities import City, Floats, city  # noqa: E402

TRAIN = 0.8
"""The first part of the time is trained on, the rest is forecast."""
TOLD = 2000
"""Samples of the common test set."""
AROUND = (0, 1, 2, 3, 6, 9)
"""Steps back at which the sensors near by are looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """x (n, F) and y (n), in deviations of the sensor; truth = usual + spread * y, in the city's unit."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    district: NDArray[np.int64]
    usual: Floats
    spread: Floats

    def of(self, district: int) -> "Samples":
        return self.take(np.flatnonzero(self.district == district))

    def few(self, count: int) -> "Samples":
        """So many, at equal distances."""
        return self.take(np.linspace(0, len(self.y) - 1, min(count, len(self.y))).astype(np.int64))

    def take(self, rows: NDArray[np.int64]) -> "Samples":
        return Samples(self.x[rows], self.y[rows], self.district[rows], self.usual[rows], self.spread[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    city: City
    train: Samples
    test: Samples


@lru_cache(maxsize=4)
def task_of(name: str, folder: Path | None, quick: bool, choosing: bool = False) -> Task:
    """Samples of all sensors: those whose target lies in the first part of the time, and those in the rest. choosing:
    of a city whose time ends where the first part does, so that settings are chosen by what nobody is judged by."""
    at = city(name, folder, quick)
    if choosing:
        at = replace(at, series=at.series[: int(len(at.series) * TRAIN)])
    steps = len(at.series)
    cut = int(steps * TRAIN)
    mean, spread = at.series[:cut].mean(0), at.series[:cut].std(0) + 1e-9
    z = (at.series - mean) / spread
    profile = profile_of(z, cut, at.day)
    strayed = z - profile
    near = at.near * (at.district[:, None] == at.district[None, :])
    np.fill_diagonal(near, 0.0)
    around = strayed @ (near / np.maximum(near.sum(1, keepdims=True), 1e-9)).T
    t = np.arange(max(at.past + at.ahead, max(AROUND) + at.ahead + 1, *at.lags, 0), steps)
    turn = 2 * np.pi * (t % at.day) / at.day
    clock = [np.broadcast_to(f(k * turn)[:, None], (len(t), z.shape[1])) for k in (1, 2) for f in (np.sin, np.cos)]
    columns = [strayed[t - at.ahead - j] for j in range(at.past)]
    columns += [around[t - at.ahead - j] for j in AROUND]
    columns += [strayed[t - lag] for lag in at.lags]
    columns += [profile[t], profile[t - at.ahead], *clock]
    x = np.stack(columns, axis=2).astype(np.float32)

    def part(rows: NDArray[np.bool_]) -> Samples:
        district = np.broadcast_to(at.district, (rows.sum(), len(at.district))).reshape(-1)
        usual = (mean + spread * profile[t[rows]]).reshape(-1)
        scale = np.broadcast_to(spread, (rows.sum(), len(spread))).reshape(-1)
        flat = strayed[t[rows]].astype(np.float32).reshape(-1)
        return Samples(x[rows].reshape(-1, x.shape[2]), flat, district, usual, scale)

    return Task(at, part(t < cut), part(t >= cut))


def profile_of(z: Floats, cut: int, day: int) -> Floats:
    """(T, S): the mean of this time of day over the days before `cut`, without the day itself; smoothed a little."""
    slot = np.arange(len(z)) % day
    total, days = np.zeros((day, z.shape[1])), np.zeros((day, 1))
    np.add.at(total, slot[:cut], z[:cut])
    np.add.at(days, slot[:cut], 1)
    known = (np.arange(len(z)) < cut)[:, None]
    profile = (total[slot] - np.where(known, z, 0.0)) / np.maximum(days[slot] - known, 1)
    width = day // 96
    if not width:
        return profile
    ends = np.pad(profile, ((width, width), (0, 0)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(ends, 2 * width + 1, axis=0).mean(-1)


def samples(city: str = "synthetic", folder: str = "", quick: bool = False, choosing: bool = False) -> Source:
    """The data of network.toml: everybody's samples, dealt to the districts by `by_district`. The common test set, by
    which every node judges itself as it goes on, is a few samples from all districts."""
    task = task_of(city, Path(folder) if folder else None, quick, choosing)

    def data(part: Samples) -> Data:
        x, y = torch.from_numpy(part.x), torch.from_numpy(part.y).unsqueeze(1)
        names = tuple(str(i) for i in range(task.city.num_districts))
        return Data(x, y, city, groups=torch.from_numpy(part.district.copy()), group_names=names)

    return Source(data(task.train), data(task.test.few(TOLD)))


def by_district(data: Data, num_nodes: int, rng: np.random.Generator) -> list[NDArray[Any]]:
    """The partition of network.toml: node i has what the sensors of district i measured."""
    assert data.groups is not None
    return [np.flatnonzero(data.groups.numpy() == district) for district in range(num_nodes)]
