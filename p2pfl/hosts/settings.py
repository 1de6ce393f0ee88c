"""How long a host waits and how much it holds. Knows numbers; the bounds of the wire itself are in core/limits.py."""

from dataclasses import dataclass

from p2pfl.core.limits import (
    BODY_BYTES_MAX,
    CHUNK_SECONDS_MAX,
    HEADER_SECONDS_MAX,
    INFLIGHT_BYTES_MAX,
    MIB,
    STRANGER_SLOTS_MAX,
)


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Seconds, bytes and counts. The defaults suit a node on the open network; tests make them small."""

    header_s: float = HEADER_SECONDS_MAX
    chunk_s: float = CHUNK_SECONDS_MAX
    """For each chunk of a body that is read, and each slice of a message that is written."""

    decide_s: float = 30.0
    """From Offered to the Party's Take or Reply."""

    reply_s: float = 300.0
    """From Received (or Asked) to the Party's Reply. A sender's own deadline is usually nearer."""

    connect_s: float = 5.0
    idle_s: float = 60.0
    """A connection of ours without a request is closed after this; one made to us after half as long again, so that a
    request never meets a server that is just closing."""

    linger_s: float = 1.0
    """How long the rest of a refused body is thrown away, so that the sender can read why."""

    stop_s: float = 10.0
    """From Stopping to the Party's Stop."""

    drain_s: float = 5.0
    """After Stop: for what is still being written, to disk or to a peer, and for each thread's last task."""

    readers: int = 4
    """Pieces of the ledger that are read at once; one more is refused."""

    stranger_slots: int = STRANGER_SLOTS_MAX
    connections_max: int = 1024
    """Open connections made to us. For one more the oldest one of a stranger is closed, if there is one."""

    strangers_per_address: int = 64
    """Connections from one address that have not proved yet whose they are (gate.py)."""

    links_per_address: int = 256
    """Connections from one address in all: whoever makes names cannot take all that there are."""

    address_rate: float = 200.0
    address_burst: float = 400.0
    """Connections and requests of strangers from one address: so many a second, and so many at once."""

    name_rate: float = 2000.0
    name_burst: float = 4000.0
    """Requests of one node that has proved that it is that node."""

    bytes_max: int = INFLIGHT_BYTES_MAX
    bytes_per_address: int = BODY_BYTES_MAX
    """Of bodies that are read or worked on at one time: of all, and from one address."""

    exchange_per_host: int = 2
    gossip_per_host: int = 2
    """Connections of ours to one address."""

    pool_bytes: int = 256 * MIB
    """Kept for bodies; more is used when the Party admits more at once, and given back."""

    tell_s: float = 60.0
    """Between two lines about strangers that were turned away."""

    fetch_s: float = 25.0
    """How long the request of a node that fetches waits for something to fetch."""

    fetch_pause_s: float = 0.25
    fetch_pause_s_max: float = 60.0
    """Between two such requests of which the first was refused or failed; doubling."""

    fetch_forget_s: float = 600.0
    """A node that fetches does so from those it has sent to in this time."""

    fetched_max: int = 4
    """Messages from one node on one path that a node has fetched and not answered yet."""
