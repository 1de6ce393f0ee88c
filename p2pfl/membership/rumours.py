"""News that goes along with what is said anyway, each piece a bounded number of times. Pure.

A piece is signed bytes and what it is about; a newer piece about the same takes the place of an older one. What was
passed on least goes first; after lambda * ceil(log10(n + 1)) times it is no news any more (SWIM, section 4.1).
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

from p2pfl.membership.bounds import NEWS_BYTES, NEWS_ITEMS_MAX, RUMOURS_MAX


@dataclass(slots=True)
class Rumour:
    raw: bytes
    told: int
    order: int


@dataclass(eq=False)
class Rumours:
    _of: dict[Hashable, Rumour] = field(default_factory=dict)
    _count: int = 0

    def add(self, about: Hashable, raw: bytes) -> None:
        """As news. What is about the same is forgotten; so is what was told most often, if there is too much."""
        self._count += 1
        self._of.pop(about, None)
        self._of[about] = Rumour(raw, 0, self._count)
        if len(self._of) > RUMOURS_MAX:
            del self._of[max(self._of, key=lambda key: (self._of[key].told, -self._of[key].order))]

    def drop(self, about: Hashable) -> None:
        self._of.pop(about, None)

    def __bool__(self) -> bool:
        return bool(self._of)

    def take(self, copies: int, room: int = NEWS_BYTES) -> list[bytes]:
        """What the next message carries: at most `room` bytes. Counts as told once; gone after `copies` times."""
        found: list[bytes] = []
        for about, rumour in sorted(self._of.items(), key=lambda item: (item[1].told, -item[1].order)):
            if len(found) >= NEWS_ITEMS_MAX:
                break
            if len(rumour.raw) > room:
                continue
            room -= len(rumour.raw)
            found.append(rumour.raw)
            rumour.told += 1
            if rumour.told >= copies:
                del self._of[about]
        return found
