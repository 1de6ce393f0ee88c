"""The pages beside the protocol: /readyz and /metrics. Knows who may read them; knows no socket.

/healthz is the host's own: it says that the loop turns. These two say what the node makes of it.
"""

import json
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Literal

from p2pfl import __version__
from p2pfl.hosts.server import Page
from p2pfl.runs.readiness import Readiness
from p2pfl.runs.scrape import Meter
from p2pfl.wire.envelope import VERSION

READY, METRICS = "/readyz", "/metrics"
JSON = "application/json"


def pages_of(meter: Meter, ready: Readiness, readers: Literal["off", "local", "any"]) -> Mapping[str, Page]:
    """`readers`: who may read the metrics. A proxy on this machine makes everybody a reader on this machine."""

    def readyz(caller: str) -> tuple[int, str, bytes]:
        why = ready.why_not()
        text = (
            {"ready": why is None} | ({} if why is None else {"why": why}) | {"version": __version__, "wire": VERSION}
        )
        return 200 if why is None else 503, JSON, json.dumps(text).encode()

    def metrics(caller: str) -> tuple[int, str, bytes]:
        if readers == "local" and not is_loopback(caller):
            text = {"code": "not-here", "detail": 'only from this machine, unless node.toml says metrics = "any"'}
            return 403, JSON, json.dumps(text).encode()
        return 200, *meter.page()

    return {READY: readyz} if readers == "off" else {READY: readyz, METRICS: metrics}


def is_loopback(address: str) -> bool:
    """Of an IPv4 or IPv6 address; also ::ffff:127.0.0.1, which is how a dual-stack socket sees IPv4."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool(mapped.is_loopback if mapped is not None else found.is_loopback)
