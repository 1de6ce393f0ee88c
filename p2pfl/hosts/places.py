"""Where nodes are: what the document says, and what Locate effects said since. Knows URLs and pins; knows no socket."""

from collections.abc import Mapping

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Locate
from p2pfl.core.urls import NOWHERE
from p2pfl.hosts.tls import Pinned


class Places:
    """`addresses` is looked up each time, so it may change while the host runs; what a Locate said of a node counts
    before it."""

    def __init__(self, addresses: Mapping[NodeId, str]) -> None:
        self._addresses = addresses
        self._located: dict[NodeId, Locate] = {}
        self._pins: dict[NodeId, Pinned] = {}

    def locate(self, place: Locate) -> None:
        """Where the node is from now on."""
        self._located[place.node] = place
        self._pins.pop(place.node, None)

    def url(self, node: NodeId) -> str | None:
        """The base URL to try next; NOWHERE if the node fetches what is for it, None if nobody knows."""
        place = self._located.get(node)
        if place is None:
            return self._addresses.get(node)
        return place.urls[0] if place.urls else NOWHERE

    def pin(self, node: NodeId) -> Pinned:
        """Whom a connection must lead to. aiohttp keeps connections apart by this object."""
        if node not in self._pins:
            place = self._located.get(node)
            self._pins[node] = Pinned(node, place.certificate if place is not None else b"")
        return self._pins[node]

    def unreachable(self, node: NodeId) -> None:
        """No connection there: the next of its URLs is tried next."""
        place = self._located.get(node)
        if place is not None and len(place.urls) > 1:
            self._located[node] = Locate(node, (*place.urls[1:], place.urls[0]), place.certificate)
