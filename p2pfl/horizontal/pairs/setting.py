"""What a pairwise exchange needs of the job's recipe and wiring. Does nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from p2pfl.compress import Codec
from p2pfl.core.vectors import ParamSchema
from p2pfl.horizontal.model.work import body_bytes_max
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood
from p2pfl.horizontal.terms.recipe import Recipe
from p2pfl.mixing.pairwise import Pairwise
from p2pfl.wire.envelope import HEAD_BYTES_MAX


@dataclass(eq=False)
class Setting:
    """`lr_at(round)` is the learning rate; `timeout_s` bounds one attempt that nothing is known about. `nb` changes
    when the members do, by `Pairs.meet` alone.
    """

    recipe: Recipe
    nb: Neighbourhood
    rule: Pairwise
    codec: Codec
    snapshot_codec: Codec
    schema: ParamSchema
    lr_at: Callable[[int], float]
    timeout_s: float

    @property
    def reply_bytes_max(self) -> int:
        """An answer's: a half of an exchange, or a snapshot."""
        return HEAD_BYTES_MAX + max(body_bytes_max(codec, self.schema) for codec in (self.codec, self.snapshot_codec))
