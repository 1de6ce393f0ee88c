"""Line charts as SVG text. Knows numbers and names of CSS classes; the page's style gives the colours.

A series is a line through its means with a band of one standard deviation around it. Values that are not finite, or not
above zero on a logarithmic axis, are left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite, log10

WIDTH, HEIGHT = 310, 225
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 10, 38
COLOURS = 8
TICKS = 5
DECADES_MAX = 6
"""Of a logarithmic axis: differences below are rounding."""
TINY = 1e-100


@dataclass(frozen=True, slots=True)
class Series:
    """Points (x, mean of y, spread of y)."""

    name: str
    colour: int
    points: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis: values from low to high onto pixels from `begin` to `end`."""

    label: str
    low: float
    high: float
    begin: float
    end: float
    log: bool
    text: Callable[[float], str]

    def at(self, value: float) -> float:
        low, high, value = (
            (log10(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        part = (value - low) / (high - low) if high > low else 0.5
        return self.begin + min(max(part, 0.0), 1.0) * (self.end - self.begin)

    def ticks(self) -> list[float]:
        if self.log:
            found = [10.0**e for e in range(floor(log10(self.low)), ceil(log10(self.high)) + 1)]
            if sum(self.low <= tick <= self.high for tick in found) < 3:
                found = [m * tick for tick in found for m in (1, 2, 5)]
            found = [tick for tick in found if self.low * 0.999 <= tick <= self.high * 1.001]
            return found[:: ceil(len(found) / 6)] if found else []
        step = nice((self.high - self.low) / TICKS)
        first = ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, floor(self.high / step + 1e-9) + 1)]


def nice(step: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below."""
    power = 10.0 ** floor(log10(step)) if step > 0 else 1.0
    return next((m * power for m in (1, 2, 2.5, 5) if m * power >= step * 0.999), 10 * power)


def make_scale(
    label: str, values: Sequence[float], begin: float, end: float, log: bool, text: Callable[[float], str]
) -> Scale:
    """Around all values that can be shown; on a logarithmic axis, around the upper decades: what is below is drawn at
    its end."""
    known = [v for v in values if isfinite(v) and (v > TINY or not log)]
    low, high = (min(known), max(known)) if known else (0.1, 1.0)
    low = max(low, high / 10**DECADES_MAX) if log else low
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 0.5 * abs(low) - 1e-9, high + 0.5 * abs(high) + 1e-9)
    return Scale(label, low, high, begin, end, log, text)


def line_chart(title: str, series: Sequence[Series], x: Scale, y: Scale) -> str:
    """An <svg> with its own description for screen readers and pointers."""
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="chart" role="img" aria-label="{escape(title, quote=True)}">',
        *_grid(x, y),
    ]
    shown = [(s, [p for p in s.points if _showable(p, x, y)]) for s in series]
    parts += [_band(s, points, x, y) for s, points in shown if any(spread for _, _, spread in points)]
    for s, points in shown:
        if len(points) > 1:
            where = " ".join(f"{x.at(px):.1f},{y.at(py):.1f}" for px, py, _ in points)
            parts.append(f'<polyline class="line c{s.colour % COLOURS}" points="{where}"/>')
        parts += [_dot(s, point, x, y) for point in points]
    return "".join([*parts, "</svg>"])


def _showable(point: tuple[float, float, float], x: Scale, y: Scale) -> bool:
    px, py, _ = point
    return isfinite(px) and isfinite(py) and (px > 0 or not x.log) and (py > 0 or not y.log)


def _grid(x: Scale, y: Scale) -> list[str]:
    parts = []
    for tick in y.ticks():
        at = y.at(tick)
        parts.append(f'<line class="grid" x1="{x.begin}" x2="{x.end}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{x.begin - 6}" y="{at + 3.5:.1f}" text-anchor="end">{y.text(tick)}</text>')
    for tick in x.ticks():
        at = x.at(tick)
        parts.append(f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{y.begin}" y2="{y.begin + 4}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{y.begin + 16}" text-anchor="middle">{x.text(tick)}</text>')
    parts.append(f'<line class="axis" x1="{x.begin}" x2="{x.end}" y1="{y.begin}" y2="{y.begin}"/>')
    middle = (x.begin + x.end) / 2
    parts.append(f'<text class="label" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.label)}</text>')
    return parts


def _band(series: Series, points: Sequence[tuple[float, float, float]], x: Scale, y: Scale) -> str:
    floor_ = y.low if y.log else float("-inf")
    upper = [f"{x.at(px):.1f},{y.at(py + spread):.1f}" for px, py, spread in points]
    lower = [f"{x.at(px):.1f},{y.at(max(py - spread, floor_)):.1f}" for px, py, spread in reversed(points)]
    return f'<polygon class="band c{series.colour % COLOURS}" points="{" ".join(upper + lower)}"/>'


def _dot(series: Series, point: tuple[float, float, float], x: Scale, y: Scale) -> str:
    px, py, spread = point
    told = f"{series.name}: {y.text(py)}{f' ± {y.text(spread)}' if spread else ''} at {x.text(px)} ({x.label})"
    where = f'cx="{x.at(px):.1f}" cy="{y.at(py):.1f}"'
    return f'<circle class="dot c{series.colour % COLOURS}" {where} r="1.8"><title>{escape(told)}</title></circle>'
