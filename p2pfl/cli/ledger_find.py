"""One way to name things of a ledger: the first hex digits of an id, `#INDEX` in the log, or `hHEIGHT` for a block."""

import re
from dataclasses import dataclass

from p2pfl.errors import ConfigError
from p2pfl.ledger.blocks.block import Block
from p2pfl.ledger.check.source import BLOCK_MATCH, MATCHES_MAX, View
from p2pfl.ledger.feeds.entry import Entry


@dataclass(frozen=True, slots=True)
class Found:
    """An entry or a block. `index` is its place in the log (of a block: of its header), None if it is not final."""

    entry: Entry | None
    block: Block | None
    index: int | None
    height: int | None

    @property
    def name(self) -> str:
        if self.entry is not None:
            return self.entry.name
        assert self.block is not None
        return self.block.header.name


def find_object(view: View, text: str) -> Found:
    """What `text` names. Raises ConfigError for nothing, or for several things."""
    if match := re.fullmatch(r"#(\d{1,18})", text):
        return _at(view, int(match[1]))
    if match := re.fullmatch(r"h(\d{1,18})", text):
        return _block(view, int(match[1]))
    if not re.fullmatch(r"[0-9a-fA-F]{1,64}", text):
        raise ConfigError(f"expected the first hex digits of an id, #INDEX or hHEIGHT, got {text[:70]!r}")
    matches = view.matches(text.lower())
    if not matches:
        raise ConfigError(f"no id begins with {text!r}; see: p2pfl ledger log")
    if len(matches) > 1:
        some = ", ".join(
            f"{id_.hex()[:12]} ({'block ' if kind else ''}{place[:8]})" for kind, id_, place in matches[:8]
        )
        more = "at least " if len(matches) == MATCHES_MAX else ""
        raise ConfigError(f"{more}{len(matches)} ids begin with {text!r}: {some}")
    kind, id_, place = matches[0]
    if kind == BLOCK_MATCH:
        return _block(view, int(place))
    entry = view.entry(id_)
    index = view.index_of(entry)
    return Found(entry, None, index, None if index is None else view.height_of(index))


def _at(view: View, index: int) -> Found:
    leaf = view.leaf(index)
    block = None if leaf.entry is not None else view.block(leaf.height)
    return Found(leaf.entry, block, index, leaf.height)


def _block(view: View, height: int) -> Found:
    if not 0 < height <= view.height:
        raise ConfigError(f"expected a height of 1 to {view.height}, got {height}: not final yet")
    block = view.block(height)
    return Found(None, block, block.header.next_index - 1, height)
