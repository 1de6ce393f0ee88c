"""`p2pfl sim --vary`: which settings are meant, and what came of them as a table and a picture. Knows curves; knows no
engine. Imports matplotlib (the `plot` extra) only when a picture is asked for."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pfl.cli.show import print_json, print_table
from p2pfl.errors import ConfigError, HostError

if TYPE_CHECKING:
    from p2pfl.runs.curves import Curve, Point

SETTINGS_MAX = 64
PICTURES = (".png", ".svg", ".pdf")
QUARTERS = (0.25, 0.5, 0.75, 1.0)
NEAR = 0.99
"""The table says what it took to come to this part of the best accuracy that any of the settings reached."""

Setting = tuple[str, tuple[str, ...]]
"""Its name, and what it changes as --set would."""


def settings_of(texts: Sequence[str]) -> list[Setting]:
    """'KEY=A,B' -> KEY=A and KEY=B; 'KEY=A,B+OTHER=C' sets OTHER with B; several texts give all combinations.

    Commas and pluses within brackets, braces and quotes belong to the value. Raises ConfigError.
    """
    choices = [_choices(text) for text in texts]
    found = [(", ".join(name for name, _ in chosen), _joined(chosen)) for chosen in product(*choices)]
    if len(found) > SETTINGS_MAX:
        raise ConfigError(f"--vary: expected at most {SETTINGS_MAX} settings, got {len(found)}")
    return found


def _choices(text: str) -> list[Setting]:
    key, sign, values = text.partition("=")
    if not sign or not key.strip() or not values.strip():
        raise ConfigError(f"--vary: expected KEY=VALUE,VALUE, got {text!r}")
    found = []
    for value in _split(values, ","):
        first, *more = _split(value, "+")
        if not first.strip() or not all("=" in other for other in more):
            raise ConfigError(f"--vary: expected KEY=VALUE,VALUE+OTHER_KEY=VALUE, got {text!r}")
        changes = (f"{key.strip()}={first.strip()}", *(other.strip() for other in more))
        found.append((" ".join(changes), changes))
    return found


def _joined(chosen: Sequence[Setting]) -> tuple[str, ...]:
    return tuple(change for _, changes in chosen for change in changes)


def _split(text: str, mark: str) -> Iterator[str]:
    depth, quote, start = 0, "", 0
    for at, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{(":
            depth += 1
        elif character in "]})":
            depth -= 1
        elif character == mark and depth == 0 and not _in_number(text, at):
            yield text[start:at]
            start = at + 1
    yield text[start:]


def _in_number(text: str, at: int) -> bool:
    """Whether the mark is the plus of 1e+3."""
    return (
        text[at] == "+" and at > 1 and text[at - 1] in "eE" and text[at - 2].isdigit() and text[at + 1 :][:1].isdigit()
    )


# ------------------------------------------------------------------------------------------------ results


def check_picture(path: Path | None) -> None:
    """Before a long run: whether a picture can be made there. Raises ConfigError."""
    if path is None:
        return
    if path.suffix not in PICTURES:
        raise ConfigError(f"--plot {path}: expected a file ending in {', '.join(PICTURES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ConfigError("pictures need matplotlib; install the plot extra: pip install 'p2pfl-node[plot]'") from None


def report(curves: Sequence["Curve"], as_json: bool) -> None:
    """Accuracy by quarters of the run, and what it took to come near the best."""
    if as_json:
        print_json([_plain(curve) for curve in curves])
        return
    from p2pfl.cli.live import bytes_text

    target = NEAR * max((curve.best or 0.0 for curve in curves), default=0.0)
    columns = ("", *(f"at {q:.0%}" for q in QUARTERS), "best", "sent", f"to {target:.3f}:", "rounds", "sent", "seconds")
    rows = []
    for number, curve in enumerate(curves, 1):
        accuracies = [_percent(point.accuracy if point else None) for point in map(curve.at, QUARTERS)]
        sent = bytes_text(curve.points[-1].bytes_per_node) if curve.points else "-"
        near = curve.reached(target) if target else None
        took = (f"{near.round:.0f}", bytes_text(near.bytes_per_node), _seconds(near)) if near else ("-", "-", "-")
        rows.append((number, *accuracies, _percent(curve.best), sent, "", *took))
    print_table(columns, rows)
    click.echo()
    for number, curve in enumerate(curves, 1):
        why = f": {curve.failure}" if curve.failure else ""
        click.echo(f"{number}  {curve.name or 'as it is'}{why}")


def _plain(curve: "Curve") -> dict[str, Any]:
    return {
        "setting": curve.name,
        "failure": curve.failure,
        "points": [point._asdict() for point in curve.points],
    }


def _percent(value: float | None) -> str:
    return "-" if value is None or value != value else f"{100 * value:.1f} %"


def _seconds(point: "Point") -> str:
    return f"{point.seconds:.1f}" if point.seconds else "-"


def draw(curves: Sequence["Curve"], title: str, path: Path) -> None:
    """Accuracy by round, by bytes sent and by simulated second. Raises HostError if it cannot be written."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.6), layout="constrained", facecolor="white")
    timed = any(point.seconds for curve in curves for point in curve.points)
    panels = [("round", "rounds", 1.0), ("bytes_per_node", "megabytes sent by a node", 1e6)]
    panels += [("seconds", "simulated seconds", 1.0)] if timed else []
    all_axes = figure.subplots(1, len(panels), sharey=True)
    for axes, (field, label, unit) in zip(all_axes, panels, strict=True):
        for curve in curves:
            xs = [getattr(point, field) / unit for point in curve.points]
            axes.plot(xs, [point.accuracy for point in curve.points], label=curve.name or "as it is", linewidth=1.6)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
        if field == "bytes_per_node":
            axes.set_xscale("log")
    all_axes[0].set_ylabel("accuracy, mean over the nodes")
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), fontsize=9, frameon=False)
    figure.suptitle(title, fontweight="bold")
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror or error}") from None
