"""What all exchanges have: the words between the job, which knows rounds, and the part of it that knows neighbours.

Between two local phases a node exchanges: with one neighbour (`pairs`), with all of them (`rows`), within a cell
(`cells`). The job asks and tells the same of each; what one kind does not have is here as nothing.
"""
# ruff: noqa: B027

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Restored
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.horizontal.pace.probes import Probes
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood
from p2pfl.wire.post import Gone, Heard, Knock, Whole


class Exchange(ABC):
    """`proceed` is called when a round's exchange is over, if the node waits for that.

    follows: whether its graph may follow the members. gives_models: whether a node's model is no secret, so that a
    newcomer may have it. listens: whether a newcomer exchanges for a while before it trains.
    """

    follows: ClassVar[bool] = False
    gives_models: ClassVar[bool] = True
    listens: ClassVar[bool] = False

    def __init__(self, desk: Desk, local: Local, proceed: Callable[[], None]) -> None:
        self.desk, self.local, self.proceed = desk, local, proceed
        self.edges: dict[NodeId, Any] = {}
        self.leaving: dict[NodeId, int] = {}

    # ------------------------------------------------------------------------------------- rounds

    def start(self, restored: Restored) -> None:
        """The node starts, with `desk.key` set; perhaps it has been here before."""

    @abstractmethod
    def trained(self) -> bool:
        """A local phase has ended. Returns whether the next one may begin at once."""

    def landed(self, before: Tensor) -> None:
        """What the phase that began at the model `before` (P,) did is in the node's model."""

    @abstractmethod
    def overdue(self, round_: Any) -> None:
        """A wait of that round is over."""

    def skip(self) -> int:
        """Rounds to leave out after one's exchange because neighbours are further; 0 normally."""
        return 0

    @abstractmethod
    def settle(self) -> bool:
        """At the end: whether nothing of this node's is on its way to a neighbour that can be reached."""

    @property
    def rounds_per_exchange(self) -> int:
        """Lockstep rounds in which every neighbour is met once."""
        return 1

    @property
    def is_led(self) -> bool:
        """Whether a neighbour has begun the round that this node would open next."""
        return False

    # ------------------------------------------------------------------------------------- who is there

    @property
    @abstractmethod
    def num_reachable(self) -> int: ...

    def meet(self, nb: Neighbourhood, at_work: bool) -> None:
        """The members have changed, and with them this node's place. Only where the graph `follows`."""

    def left(self, peer: NodeId) -> None:
        """A neighbour has said that it has done all its rounds."""

    @property
    def lost(self) -> Collection[Any]:
        """Edges that are to be let go."""
        return ()

    def let_go(self) -> bool:
        """Lets them go; whether one of a neighbour no more was among them."""
        return False

    def joined(self) -> None:
        """This node has fetched the network's model."""

    @property
    def has_caught_up(self) -> bool:
        """Whether a newcomer has listened long enough."""
        return False

    @property
    def probes(self) -> Probes | None:
        """Of an exchange that gives neighbours up."""
        return None

    # ------------------------------------------------------------------------------------- messages

    @abstractmethod
    def knock(self, event: Knock) -> None: ...

    @abstractmethod
    def whole(self, event: Whole) -> None: ...

    def gone(self, event: Gone) -> None:
        """Who asked did not wait for the answer."""

    @abstractmethod
    def heard(self, event: Heard) -> None: ...

    @abstractmethod
    def failed(self, key: Any, reason: str) -> None: ...

    @abstractmethod
    def retry(self, peer: Any) -> None:
        """The pause after an attempt that failed is over."""

    # ------------------------------------------------------------------------------------- reports

    @property
    def apart(self) -> float | None:
        """How far this node's model was from its neighbours' at their last exchanges, if that is known."""
        return None

    def of_round(self) -> Mapping[str, Any]:
        """What a round's report says besides."""
        return {}

    def in_all(self) -> Mapping[str, Any]:
        """What the last report says besides."""
        return {}

    def told(self) -> list[dict[str, Any]]:
        """A row per edge, for people and machines."""
        return []
