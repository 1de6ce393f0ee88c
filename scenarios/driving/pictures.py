"""Some test signs in each weather, as the cars see them. Knows matplotlib (the extra `plot`); knows no network."""

from pathlib import Path

import numpy as np
from common_pictures import INK
from matplotlib.figure import Figure

SKIES = ("clean", "fog", "rain", "night")
SIGNS = 9


def draw(file: Path) -> Figure:
    """One row a weather, the same signs in each."""
    with np.load(file, allow_pickle=False) as z:
        y = z["test_y"]
        first = [int(np.flatnonzero(y == label)[0]) for label in range(SIGNS)]
        rows = [np.concatenate(list(z[f"test_{sky}_x"][first]), axis=1) for sky in SKIES]
    figure = Figure(figsize=(7.2, 3.3), dpi=80, facecolor="white")
    figure.set_layout_engine("constrained", rect=(0.03, 0, 0.97, 1))
    for axes, sky, row in zip(figure.subplots(len(SKIES), 1), SKIES, rows, strict=True):
        axes.imshow(row, aspect="equal")
        axes.set_xticks([])
        axes.set_yticks([len(row) / 2], [sky], fontsize=9, color=INK)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure
