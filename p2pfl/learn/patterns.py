"""Which parameters a pattern means. Knows names; knows no module and no tensor.

A pattern is a parameter's name, that of a module it lies in, or either with `*`, `?` and `[..]`: "2.weight", "2",
"backbone.*", "*.bias".
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from p2pfl.errors import ConfigError

_SHOWN = 8


def matches(name: str, pattern: str) -> bool:
    """Whether the parameter `name`, or a module it lies in, is meant."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:count]), pattern) for count in range(1, len(parts) + 1))


def matched(names: Iterable[str], patterns: Sequence[str], what: str) -> frozenset[str]:
    """The names that any pattern means. Raises ConfigError, naming `what`, for a pattern that means none."""
    known = list(names)
    for pattern in patterns:
        if not any(matches(name, pattern) for name in known):
            raise ConfigError(f"{what}: {pattern!r} matches nothing; there are: {listed(known)}")
    return frozenset(name for name in known if any(matches(name, pattern) for pattern in patterns))


def listed(names: Sequence[str]) -> str:
    """The first few, for a message."""
    more = "" if len(names) <= _SHOWN else f", and {len(names) - _SHOWN} more"
    return (", ".join(names[:_SHOWN]) or "none") + more
