"""One row of one round: what the exchanges of neighbourhood rules share. Knows the checks on it, and no exchange."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from p2pfl.compress import Codec
from p2pfl.core.ids import NodeId
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import Reject
from p2pfl.horizontal.model.work import EncodedRow, check_sections
from p2pfl.horizontal.terms.averages import Stated
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood
from p2pfl.horizontal.terms.recipe import Recipe
from p2pfl.mixing.rows import RowMixer
from p2pfl.wire.messages import Row


@dataclass(eq=False)
class RowSetting:
    """`nb` changes when the members do, by `SemiSync.meet` alone. alike: who says and hears all of `schema`, to the
    others only its first group goes; None: everybody.
    """

    recipe: Recipe
    nb: Neighbourhood
    rule: RowMixer
    codec: Codec
    schema: ParamSchema
    timeout_s: float
    staleness: int = 0
    alike: frozenset[NodeId] | None = None
    _cut: tuple[EncodedRow, EncodedRow] | None = None

    @cached_property
    def _first(self) -> ParamSchema:
        return self.schema.only(self.schema.groups[0].name)

    def schema_of(self, peer: NodeId) -> ParamSchema:
        """Of what goes between this node and that one."""
        return self.schema if self.alike is None or peer in self.alike else self._first

    def said_to(self, peer: NodeId, own: EncodedRow) -> EncodedRow:
        """What that neighbour gets of one's own row."""
        return own if self.alike is None or peer in self.alike else self._short(own)

    def _short(self, own: EncodedRow) -> EncodedRow:
        if self._cut is None or self._cut[0] is not own:
            self._cut = (own, own.head(1))
        return self._cut[1]


class HeardRow(NamedTuple):
    """One neighbour's row of one round, decoded."""

    q: Tensor
    stated: Stated
    notes: tuple[float, ...]


def check_row(setting: RowSetting, row: Row, author: NodeId, body_len: int, is_drawn: bool) -> None:
    """On the header alone. is_drawn: whether its author speaks to me in that round. Raises Reject."""
    rule = setting.rule
    check_sections(setting.codec, row.sections, body_len, setting.schema_of(author), rule.vectors)
    if len(row.notes) != len(rule.notes):
        raise Reject("notes", f"expected {len(rule.notes)} notes, got {len(row.notes)}")
    for note, value in zip(rule.notes, row.notes, strict=True):
        if not note.low <= value <= note.high:
            raise Reject("notes", f"{note.name}: expected {note.low:g} to {note.high:g}, got {value:g}")
    if not is_drawn:
        raise Reject("not-drawn", f"round {row.round} is not one in which you speak to me")
