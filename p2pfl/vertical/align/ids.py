"""From ids as people write them to ids that match. Knows texts and rules; knows no file, point or party.

Parties write one person's id in many ways: " A-17", "a-17", in composed or decomposed accents. All parties of a job
bring ids into one form by the job's rules before anything is hashed; what differs after that is a different person.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2pfl.errors import ConfigError
from p2pfl.vertical.align.bounds import ALIGN_ID_BYTES_MAX, ALIGN_IDS_MAX

SHOWN = 40
"""Characters of an id that a message to its owner shows."""


@dataclass(frozen=True, slots=True)
class IdRules:
    """trim: white space at the ends goes. fold: case is ignored (Unicode case folding). nfkc: compatible characters
    (full-width digits, ligatures, decomposed accents) become one form."""

    trim: bool = True
    fold: bool = True
    nfkc: bool = True

    def apply(self, text: str) -> str:
        """The form that is compared. apply(apply(t)) == apply(t)."""
        changed = self._once(text)
        while (again := self._once(changed)) != changed:  # folding may leave what NFKC composes, at most a few times
            changed = again
        return changed

    def _once(self, text: str) -> str:
        text = unicodedata.normalize("NFKC", text) if self.nfkc else text
        text = text.casefold() if self.fold else text
        return text.strip() if self.trim else text


def normalise(
    texts: Sequence[str], rules: IdRules, source: str, where: Callable[[int], str] = lambda row: f"row {row + 1}"
) -> list[bytes]:
    """The ids (n,) as bytes that match, in the order of the rows. ConfigError names an empty, long or doubled id.

    `where(row)` says where the row with this index is, for messages.
    """
    if not texts:
        raise ConfigError(f"{source}: expected ids to align, got none")
    if len(texts) > ALIGN_IDS_MAX:
        raise ConfigError(f"{source}: expected at most {ALIGN_IDS_MAX:,} ids, got {len(texts):,}")
    found: dict[bytes, int] = {}
    for row, text in enumerate(texts):
        item = _encoded(rules.apply(text), f"{source}, {where(row)}")
        first = found.setdefault(item, row)
        if first != row:
            raise ConfigError(_doubled(texts, first, row, source, where))
    return list(found)


def _encoded(text: str, place: str) -> bytes:
    try:
        item = text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{place}: expected an id of Unicode characters, got {text[:SHOWN]!r}") from error
    if not item:
        raise ConfigError(f"{place}: expected an id, got an empty one")
    if len(item) > ALIGN_ID_BYTES_MAX:
        raise ConfigError(f"{place}: expected an id of at most {ALIGN_ID_BYTES_MAX} bytes, got {len(item)}")
    return item


def _doubled(texts: Sequence[str], first: int, row: int, source: str, where: Callable[[int], str]) -> str:
    one, other = texts[first][:SHOWN], texts[row][:SHOWN]
    written = f"{other!r}" if one == other else f"{one!r} and {other!r}, the same after normalisation"
    return f"{source}: duplicate id in {where(first)} and {where(row)}: {written}; expected every id once"
