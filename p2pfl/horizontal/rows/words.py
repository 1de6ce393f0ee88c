"""One row of one round: what the exchanges of neighbourhood rules share. Knows the checks on it, and no exchange."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from p2pfl.compress import Codec
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import Reject
from p2pfl.horizontal.model.work import check_sections
from p2pfl.horizontal.terms.averages import Stated
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood
from p2pfl.horizontal.terms.recipe import Recipe
from p2pfl.mixing.rows import RowMixer
from p2pfl.wire.messages import Row


@dataclass(eq=False)
class RowSetting:
    """`nb` changes when the members do, by `SemiSync.meet` alone."""

    recipe: Recipe
    nb: Neighbourhood
    rule: RowMixer
    codec: Codec
    schema: ParamSchema
    timeout_s: float
    staleness: int = 0


class HeardRow(NamedTuple):
    """One neighbour's row of one round, decoded."""

    q: Tensor
    stated: Stated
    notes: tuple[float, ...]


def check_row(setting: RowSetting, row: Row, body_len: int, is_drawn: bool) -> None:
    """On the header alone. is_drawn: whether its author speaks to me in that round. Raises Reject."""
    rule = setting.rule
    check_sections(setting.codec, row.sections, body_len, setting.schema, rule.vectors)
    if len(row.notes) != len(rule.notes):
        raise Reject("notes", f"expected {len(rule.notes)} notes, got {len(row.notes)}")
    for note, value in zip(rule.notes, row.notes, strict=True):
        if not note.low <= value <= note.high:
            raise Reject("notes", f"{note.name}: expected {note.low:g} to {note.high:g}, got {value:g}")
    if not is_drawn:
        raise Reject("not-drawn", f"round {row.round} is not one in which you speak to me")
