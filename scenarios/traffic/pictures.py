"""The pictures of a city's forecasts. Knows matplotlib (the extra `plot`); knows no network."""

from typing import Any

import numpy as np
from common_pictures import INK, QUIET, tidy
from forecasts import ALONE, MEANS, MIX, NETWORK, POOLED
from matplotlib.figure import Figure

COLOURS = {ALONE: "#e07b39", NETWORK: "#2a78b5", MIX: "#3a9d6e", POOLED: "#7a5ea8"}


def draw(found: Any) -> Figure:
    """Two panels: each district's error with the network over its error alone, and one sensor's two last days."""
    figure = Figure(figsize=(10.5, 3.4), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    figure.suptitle(found.trained.task.city.title, fontsize=12, fontweight="bold", color=INK)
    _districts(left, found)
    _example(right, found)
    for axes in (left, right):
        tidy(axes)
    return figure


def _districts(axes: Any, found: Any) -> None:
    alone = found.rmse[ALONE]
    order = np.argsort(found.rmse[MIX] / alone)
    axes.axhline(1.0, color=COLOURS[ALONE], linewidth=1.4)
    for name in (POOLED, NETWORK, MIX):
        share = (found.rmse[name] / alone)[order]
        axes.plot(share, "o", markersize=3.2, color=COLOURS[name], label=name)
    axes.set_xlabel("districts, by how much they gain", fontsize=8.5, color=QUIET)
    axes.set_ylabel("error (RMSE) over that of alone", fontsize=8.5, color=QUIET)
    axes.legend(fontsize=7.5, frameon=False)


def _example(axes: Any, found: Any) -> None:
    """The first sensor of district 0: what was measured, and two forecasts of it."""
    task, trained = found.trained.task, found.trained
    sensors, shown = int((task.city.district == 0).sum()), 2 * task.city.day
    part = task.test.of(0)
    values = {"measured": part.usual + part.spread * part.y}
    values |= {name: trained.forecast(of, 0) for name, of in ((ALONE, [ALONE]), (MIX, MEANS[MIX]))}
    for name, line in values.items():
        colour, width = (INK, 1.5) if name == "measured" else (COLOURS[name], 1.0)
        axes.plot(line[::sensors][-shown:], color=colour, linewidth=width, label=name)
    axes.set_xlabel("time steps: the end of what was forecast, one sensor of district 0", fontsize=8.5, color=QUIET)
    axes.set_ylabel(task.city.unit, fontsize=8.5, color=QUIET)
    axes.legend(fontsize=7.5, frameon=False)
