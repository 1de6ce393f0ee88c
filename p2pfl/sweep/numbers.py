"""Numbers as people read them. Knows nothing else."""

from math import floor, isnan, log10

from p2pfl.sweep.stats import Spread

NONE = "–"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def percent_short(value: float) -> str:
    """For an axis: 90 %, 97.5 %."""
    return f"{round(100 * value, 1):g} %"


def amount(value: float) -> str:
    """1234567 -> '1.2 MB'; powers of 1000, as on the wire."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or abs(value) >= 100 else f"{value:.3g} {unit}"


def plain(value: float) -> str:
    """Three significant digits, without an exponent where it is short."""
    if value == 0 or isnan(value):
        return "0" if value == 0 else NONE
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.2g}"
    digits = max(0, 2 - floor(log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(seconds: float) -> str:
    """'45 s', '3 min', '2.1 h'."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


TEXTS = {
    "accuracy": percent,
    "accuracy_best": percent,
    "accuracy_min": percent,
    "bytes_per_node": amount,
}
"""By column; others are `plain`."""


def spread_text(column: str, spread: Spread) -> str:
    """'97.1 % ± 0.3' as HTML; the spread only where there are several values."""
    mean, around = _texts(column, spread)
    return f'{mean} <span class="pm">± {around}</span>' if around else mean


def spread_words(column: str, spread: Spread) -> str:
    """The same as plain text."""
    mean, around = _texts(column, spread)
    return f"{mean} ± {around}" if around else mean


def mean_words(column: str, spread: Spread) -> str:
    return _texts(column, spread)[0]


def _texts(column: str, spread: Spread) -> tuple[str, str]:
    if not spread.count or isnan(spread.mean):
        return NONE, ""
    text = TEXTS.get(column, plain)
    if spread.count < 2 or spread.std <= 1e-9 * abs(spread.mean):
        return text(spread.mean), ""
    around = f"{100 * spread.std:.1f}" if text is percent else amount(spread.std) if text is amount else ""
    return text(spread.mean), around or f"{spread.std:.2g}"
