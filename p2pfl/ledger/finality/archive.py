"""The last final blocks, kept in memory for those who missed them. Pure; knows blocks and certificates, no vote."""

from collections import OrderedDict
from collections.abc import Iterable

from p2pfl.ledger.feeds.bounds import BLOCK_BYTES_MAX, FINALS_KEPT, FINALS_MAX
from p2pfl.ledger.finality.journal import certified_prefix
from p2pfl.ledger.finality.talk import Decided, Finals, Proofs, Talk


class Archive:
    """The last final blocks, for those who missed them."""

    def __init__(self, decided: Iterable[Decided] = ()) -> None:
        self._kept: OrderedDict[int, Decided] = OrderedDict()
        for one in decided:
            self.add(one)

    def add(self, decided: Decided) -> None:
        self._kept[decided.block.height] = decided
        if len(self._kept) > FINALS_KEPT:
            self._kept.popitem(last=False)

    def has(self, height: int) -> bool:
        return height in self._kept

    def after(self, height: int) -> list[Talk]:
        """Final blocks after `height`, which must be here, up to one with a certificate."""
        rows: list[Decided] = []
        room = 2 * BLOCK_BYTES_MAX
        while len(rows) < FINALS_MAX and (found := self._kept.get(height + 1 + len(rows))) is not None:
            room -= len(found.block.raw)
            if rows and room < 0:
                break
            rows.append(found)
        whole = certified_prefix(rows)
        if whole:
            return [Finals(tuple(whole))]
        # so many blocks without a certificate of their own: the first certificate, and the blocks when asked for
        later = (row.certificate for h, row in self._kept.items() if h > height and row.certificate is not None)
        return [Proofs((certificate,)) for certificate in list(later)[:1]]
