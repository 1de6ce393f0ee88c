"""A store that lives as long as its object: for the simulator and tests. Keeps the whole contract but the disk."""

from collections.abc import Collection, Iterable, Sequence

from p2pfl.core.party import Put, Restored
from p2pfl.errors import HostError
from p2pfl.ledger.feeds.records import ENTRY, check_final, check_value, entry_to_put, is_new


class MemoryStore:
    """`core.party.Store` in dictionaries. `crash` ends one life of a Party and lets the next one load."""

    def __init__(self) -> None:
        self._spaces: dict[str, dict[bytes, bytes]] = {}
        self._open = True

    def load(self, spaces: Collection[str] | None = None) -> Restored:
        """All that was committed (of these `spaces` only, if given), keys in ascending order."""
        self._check_open()
        wanted = sorted(self._spaces if spaces is None else self._spaces.keys() & set(spaces))
        return {space: dict(sorted(self._spaces[space].items())) for space in wanted if self._spaces[space]}

    def commit(self, puts: Sequence[Put]) -> None:
        """All or nothing."""
        self.commit_many([puts])

    def commit_many(self, batches: Iterable[Sequence[Put]]) -> None:
        """Several commits as one: all or nothing. Raises LedgerError for a second entry at one position."""
        self._check_open()
        staged: dict[tuple[str, bytes], bytes | None] = {}
        for put in (put for puts in batches for put in puts):
            place = (put.space, put.key)
            if put.space == ENTRY:
                known = staged.get(place) or self._spaces.get(ENTRY, {}).get(put.key)
                is_new(known, entry_to_put(put))
            else:
                check_value(put)
                check_final(put, staged.get(place) or self._spaces.get(put.space, {}).get(put.key))
            staged[place] = put.value
        for (space, key), value in staged.items():
            rows = self._spaces.setdefault(space, {})
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value

    def crash(self) -> None:
        """The machine lost power: what was committed is all there is, and the store can be opened again."""
        self._open = True

    def close(self) -> None:
        self._open = False

    def _check_open(self) -> None:
        if not self._open:
            raise HostError("the store is closed")
