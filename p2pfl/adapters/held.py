"""Names for what was adapted in this process, so that a document made in memory can name it: `p2pfl.adapters.held:a3`.

Knows nothing of what it holds, and holds it no longer than the caller does.
"""

from itertools import count
from typing import Any
from weakref import WeakValueDictionary

_HELD: WeakValueDictionary[str, Any] = WeakValueDictionary()
_NUMBERS = count()


def hold(thing: Any) -> str:
    """A name under which this process finds `thing` for as long as somebody keeps it."""
    name = f"a{next(_NUMBERS)}"
    _HELD[name] = thing
    return f"{__name__}:{name}"


def __getattr__(name: str) -> Any:
    if name in _HELD:
        return _HELD[name]
    raise AttributeError(f"nothing of the name {name!r} is held in this process (any more)")
