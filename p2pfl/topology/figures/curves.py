"""A picture of how fast graphs average. Knows matplotlib (the `plot` extra), imported only when called."""

from collections.abc import Sequence
from typing import Any

from p2pfl.topology.figures.consensus import WANTED
from p2pfl.topology.figures.draw import PALETTE, QUIET, need_matplotlib
from p2pfl.topology.figures.study import Study


def draw_curves(studies: Sequence[Study]) -> Any:
    """Disagreement against rounds, and against models sent per node: averaging is a full line, pairs a broken one.

    A matplotlib Figure. Raises ConfigError if matplotlib is not installed.
    """
    figure = need_matplotlib()(figsize=(11, 5), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, sharey=True)
    colours: Sequence[Any] = PALETTE
    if len(studies) > len(PALETTE):
        from matplotlib import colormaps

        colours = list(colormaps["turbo"]([0.03 + 0.94 * i / (len(studies) - 1) for i in range(len(studies))]))
    for i, study in enumerate(studies):
        colour = colours[i]
        for pace, style in ((study.average, "-"), (study.pairs, "--")):
            rounds = range(len(pace.curve))
            values = [max(value, WANTED / 3) for value in pace.curve]
            label = study.name if style == "-" else None
            left.plot(rounds, values, style, color=colour, linewidth=1.7, label=label)
            if pace.models_sent:
                each = pace.models_sent / study.num_nodes / max(1, len(pace.curve) - 1)
                right.plot([each * t for t in rounds], values, style, color=colour, linewidth=1.7)
    left.set(xlabel="round", ylabel="disagreement, as a share of the first", yscale="log")
    right.set(xlabel="models sent per node", yscale="log")
    for axes in (left, right):
        axes.set_xscale("symlog", linthresh=1)
        axes.axhline(WANTED, color=QUIET, linewidth=0.8, linestyle=":")
        axes.set_xlim(0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside right upper")
    figure.supxlabel("full: averaging with all neighbours; broken: meeting in pairs", fontsize=9, color=QUIET)
    return figure
