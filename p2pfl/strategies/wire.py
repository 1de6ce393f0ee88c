"""Wire cheats: they train, and commit to what they trained, and send their neighbours something else."""

from typing import ClassVar

from p2pfl.horizontal.model.work import Encode, Encoded, GossipWork, encode_sections
from p2pfl.mixing.reference import difference
from p2pfl.strategies.strategy import Strategy

__all__ = ["PoisonWire", "ZeroWire"]


class ZeroWire(Strategy):
    """Says nothing new: a vector of zeros, well coded."""

    name: ClassVar[str] = "zerowire"
    works: ClassVar[bool] = False
    factor: ClassVar[float] = 0.0

    def work(self, work: GossipWork) -> GossipWork:
        return Cheating(work, self.factor)


class PoisonWire(ZeroWire):
    """Says the opposite of what it has to say."""

    name: ClassVar[str] = "poisonwire"
    factor: ClassVar[float] = -1.0


class Cheating(GossipWork):
    """Codes `factor` times what is to be said."""

    def __init__(self, honest: GossipWork, factor: float) -> None:
        super().__init__(honest.learner, honest.codec, honest.mixer, honest.snapshot_codec, honest.guard)
        self.factor = factor

    def encode(self, task: Encode) -> Encoded:
        v = self.factor * difference(task.x, task.reference, self.schema)
        return encode_sections(self.codec, v, self.schema, task.key, task.damp)
