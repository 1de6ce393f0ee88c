"""Requests to a node, as files in its run's folder. Knows files; knows no terminal and no Party.

`p2pfl ledger join` and its kin leave a file here; the node's own process finds it while it runs, or at its next start,
signs what it asks for, and removes the file when the entry is durable. Whoever may write into the folder may speak for
the node, as whoever may read its key: keep both to the node's owner. A file that is not a request of this node is set
aside with the ending `.refused`. Layout: docs/formats/request.md.

    file = canonical msgpack [1, net, author, kind, payload]      requests/NAME.request
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import ConfigError, Reject
from p2pfl.ledger.feeds.kinds import freeze
from p2pfl.peer.order import WHATS, Order, parse_order
from p2pfl.peer.request import REQUESTS_MAX, Request
from p2pfl.wire import canonical, fields

VERSION = 1
FOLDER = "requests"
SUFFIX = ".request"
REFUSED = ".refused"
REQUEST_BYTES_MAX = 1024
"""Of a file; an order that carries an authority's statement stays below, too."""


@dataclass(frozen=True, slots=True)
class Spool:
    """The requests to one node: `run` is its run's folder."""

    run: Path
    net: bytes
    author: NodeId

    @property
    def folder(self) -> Path:
        return self.run / FOLDER

    def put(self, kind: str, payload: Sequence[Any]) -> Path:
        """Ask the node for an entry. The same request again is the same file. Raises ConfigError, Reject."""
        raw = canonical.packb([VERSION, self.net, self.author, kind, list(payload)])
        path = self.folder / (sha256(raw).hexdigest()[:16] + SUFFIX)
        self._parse(path.stem, raw)
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            if len(list(self.folder.iterdir())) >= REQUESTS_MAX:
                raise ConfigError(f"{self.folder}: holds {REQUESTS_MAX} files already: remove what is not needed")
            half = path.with_suffix(".half")
            with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None
        return path

    def waiting(self) -> tuple[list[Request], list[str]]:
        """The requests in name order, and what was refused just now, in words for people."""
        found, refused = self.look()
        return [request for request in found if isinstance(request, Request)], refused

    def look(self) -> tuple[list[Request | Order], list[str]]:
        """As `waiting`, with the orders (peer/order.py)."""
        found: list[Request | Order] = []
        refused: list[str] = []
        for path in sorted(self.folder.glob(f"*{SUFFIX}"))[:REQUESTS_MAX]:
            try:
                with path.open("rb") as file:
                    raw = file.read(REQUEST_BYTES_MAX + 1)
                found.append(self._parse(path.stem, raw))
            except Reject as reject:
                refused.append(f"{path.name}: {reject}")
                with suppress(OSError):
                    path.replace(path.with_suffix(REFUSED))
            except OSError as error:
                refused.append(f"{path.name}: {error.strerror}")
        return found, refused

    def done(self, name: str) -> None:
        """The entry is durable."""
        with suppress(OSError):
            (self.folder / f"{name}{SUFFIX}").unlink()

    def _parse(self, name: str, raw: bytes) -> Request | Order:
        version, net, author, kind, payload = fields.array(canonical.unpackb(raw, REQUEST_BYTES_MAX), "request", 5)
        fields.version(version, "request", VERSION)
        if (net, author) != (self.net, self.author):
            raise Reject("other", f"a request to another node than {short(self.author)}, or of another network")
        if not isinstance(kind, str) or not isinstance(payload, list):
            raise Reject("malformed", "a request is [1, net, author, kind, payload]")
        if kind in WHATS:
            return parse_order(name, kind, payload)
        frozen = freeze(payload)
        assert isinstance(frozen, tuple)
        return Request(name, kind, frozen)
