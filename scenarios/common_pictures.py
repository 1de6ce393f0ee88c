"""What pictures of scenarios share: colours, and a row of points for each way that was compared. Knows matplotlib (the
extra `plot`); knows no scenario."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

INK, QUIET, LINE = "#1f2937", "#6b7280", "#cbd5e1"
OURS, OTHERS = "#2a78b5", "#9aa5b1"


def ranking(title: str, label: str, found: Mapping[str, Sequence[float]], ours: Sequence[str]) -> Figure:
    """One line a way: its figure in every seed as a small point, their mean as a large one with its number; `ours` are
    coloured. The axis begins where the points do, so distances count and not lengths."""
    figure = Figure(figsize=(8.6, 0.9 + 0.38 * len(found)), layout="constrained", facecolor="white")
    axes = figure.subplots()
    figure.suptitle(title, fontsize=11.5, fontweight="bold", color=INK)
    for place, (name, values) in enumerate(found.items()):
        colour, mean = OURS if name in ours else OTHERS, sum(values) / len(values)
        axes.axhline(place, color=LINE, linewidth=0.7, zorder=0)
        axes.plot(values, [place] * len(values), "o", markersize=3.5, color=colour, alpha=0.5)
        axes.plot([mean], [place], "o", markersize=8, color=colour)
        axes.annotate(f"{mean:.3f}", (mean, place), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    axes.set_yticks(range(len(found)), list(found), fontsize=9, color=INK)
    axes.set_ylim(len(found) - 0.5, -0.6)
    axes.margins(x=0.08)
    axes.set_xlabel(label, fontsize=9, color=QUIET)
    tidy(axes)
    return figure


def tidy(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(labelsize=8.5, colors=QUIET)
