"""What one node's gossip job is to do, as a value. Does nothing."""

from dataclasses import dataclass
from typing import NamedTuple

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.pace.timetable import Timetable
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood
from p2pfl.horizontal.terms.recipe import Recipe
from p2pfl.horizontal.terms.workflow import StopRule
from p2pfl.horizontal.valuing.part import Valued
from p2pfl.learn.data import SplitName
from p2pfl.membership.shape import Shape
from p2pfl.privacy.sharing import SharedNoise
from p2pfl.privacy.spending import Promise

GROWTH = 4
"""Of the usual batch, where a time budget says how long a phase takes."""


class Batches(NamedTuple):
    """Examples in a usual batch, in the smallest and in the largest that a machine's speed may choose."""

    usual: int
    low: int | None
    high: int


@dataclass(frozen=True)
class Plan:
    """steps: local steps of a phase (H). eval_every: rounds; 0 only at the end. participants: share of the nodes that
    train in a round (lockstep). closing: exchanges per edge after the last round, without training. promise: of
    differential privacy; once its budget is spent the node only exchanges. noise: what members of a cell share out, if
    the learner adds none. shape: how the graph follows from who is alive (placing.py), if somebody watches that.
    staleness: of how many rounds before the present one a neighbour's row is still mixed in (semi_sync). seconds: a
    phase is to take so long, in as many steps, of as many examples, as this machine does in that; batches: that it may
    take, None if always the usual one. timetable: when it is not to train. alike: the nodes of this one's kind, where
    some say more to each other than to the others.
    """

    recipe: Recipe
    nb: Neighbourhood
    steps: int
    timeout_s: float
    gather_s: float
    window: int
    eval_every: int
    codec_name: str
    participants: float = 1.0
    weigh_samples: bool = False
    closing: int = 0
    stop: StopRule | None = None
    splits: tuple[SplitName, ...] = ("test",)
    promise: Promise | None = None
    noise: SharedNoise | None = None
    valued: Valued | None = None
    shape: Shape | None = None
    staleness: int = 1
    seconds: float | None = None
    batches: Batches | None = None
    timetable: Timetable | None = None
    alike: frozenset[NodeId] | None = None
