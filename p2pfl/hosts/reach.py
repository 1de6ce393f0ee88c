"""How others reach this node, and how it may reach them. Knows URLs and a key; knows no socket."""

from dataclasses import dataclass
from typing import Protocol

from p2pfl.core.ids import NodeId
from p2pfl.core.urls import NOWHERE
from p2pfl.hosts.tls import Shown


class Identity(Protocol):
    """The node's key (wire.keyfile.Signer): what shows and signs that it is this node."""

    node: NodeId

    def sign(self, text: bytes) -> bytes: ...

    def certificate(self) -> Shown: ...


@dataclass(frozen=True, slots=True)
class Reach:
    """network: what requests to fetch are bound to. url: where others reach this node, "none" for nowhere: then it
    fetches from those that it sends to (pull.py). plain: http will do beyond this machine. Without an identity a host
    neither listens with TLS nor fetches, nor lets others fetch."""

    identity: Identity | None = None
    network: bytes = b""
    url: str = ""
    plain: bool = False

    @property
    def certificate(self) -> Shown | None:
        """What to show to those that connect; None: listen without TLS."""
        if self.identity is None or not self.url.startswith("https://"):
            return None
        return self.identity.certificate()

    @property
    def fetches(self) -> bool:
        return self.identity is not None and self.url == NOWHERE
