"""Makes what nodes say harmless to show: finite numbers, short texts. Knows no node and no page.

Whatever comes from a network may be of any type and size, and JSON readers of Python take NaN where those of browsers
stop. What is not as it must be is None, and never an error.
"""

from math import isfinite
from typing import Any

TEXT_CHARS_MAX = 200
NAME_CHARS_MAX = 64
NUMBER_MAX = float(1 << 53)
"""Larger numbers are not whole in a browser."""


def real(value: object) -> float | None:
    """A finite number of moderate size."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= NUMBER_MAX and isfinite(value) else None


def whole(value: object) -> int | None:
    """A count."""
    found = real(value)
    return int(found) if found is not None and found >= 0 else None


def text(value: object, chars: int = TEXT_CHARS_MAX) -> str | None:
    """One line without control characters, and without the marks that turn the direction of reading."""
    if not isinstance(value, str | int | float):
        return None
    return "".join(c if c.isprintable() else " " for c in str(value)[:chars])


def name(value: object) -> str | None:
    """A text that is not empty."""
    return (text(value, NAME_CHARS_MAX) or "").strip() or None


def table(value: object) -> dict[str, Any]:
    """A mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def rows(value: object, limit: int) -> list[dict[str, Any]]:
    """The mappings in a list, so many at most."""
    return [row for row in value[:limit] if isinstance(row, dict)] if isinstance(value, list) else []
