"""Who may connect and ask, how often, and how much at once. Pure: knows addresses, names and a clock that it is told.

Theory of operation
-------------------
A connection is a *link*. It is of a stranger until a message on it was authentic and wanted: then it is *proved*, and
stays so until it ends. What strangers do is charged to their address, what proved links do to the name they proved:

    opening a link         one token of the address; and at most `strangers_per_address` links of strangers from there,
                           `links_per_address` in all
    a request              one token: of the address, or of the name
    a body under way       its bytes, of what one address may have and of what all together may

The tokens of a bucket come back at a steady rate (Turner 1986, the leaky bucket as a meter). An address is an IPv4
address or an IPv6 network of 64 bits, which is what one customer has. When all links are taken, the stranger that has
been there longest makes room: nodes that have proved themselves are never crowded out, and one that comes has the time
of a request to prove itself. A stranger that asks nothing for `patience_s` is hung up on: that is all that trickling
headers, or none, can hold.

So honest nodes behind the same address as hostile ones (one house, one cloud's NAT) are hindered while they connect,
and not once they are known. Everything that is remembered is bounded by `ADDRESSES_MAX` and the number of links.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from p2pfl.hosts.settings import HttpSettings

ADDRESSES_MAX = 4096
"""Buckets that are remembered; of more, the one that was used longest ago starts anew."""
IPV6_CUSTOMER_BITS = 64


@dataclass(slots=True, eq=False)
class Bucket:
    """`rate` tokens come a second, up to `burst`."""

    rate: float
    burst: float
    tokens: float
    at: float

    def take(self, now: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


@dataclass(slots=True, eq=False)
class Link:
    """One connection. `author`: whose it is proved to be. `since`: when it was last busy; `busy`: requests now."""

    address: str
    hang_up: Callable[[], object]
    since: float
    author: bytes = b""
    busy: int = 0


class Gate:
    """`open` ... `ask` ... `close` of links, which are named by whatever the caller likes."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._links: dict[Hashable, Link] = {}  # oldest first
        self._strangers: Counter[str] = Counter()
        self._all: Counter[str] = Counter()
        self._buckets: OrderedDict[str | bytes, Bucket] = OrderedDict()
        self._bytes: Counter[str] = Counter()
        self.turned_away: Counter[str] = Counter()
        """How often, by reason: connections, requests, bytes, crowded, silent."""

    # ------------------------------------------------------------------------------------------ links

    def open(self, name: Hashable, host: str, now: float, hang_up: Callable[[], object]) -> bool:
        """Whether a connection from `host` may stay."""
        address = address_of(host)
        if not self._take(address, now):
            return self._no("connections")
        s = self._settings
        if self._strangers[address] >= s.strangers_per_address or self._all[address] >= s.links_per_address:
            return self._no("connections")
        if len(self._links) >= self._settings.connections_max and not self._make_room():
            return self._no("crowded")
        self._links[name] = Link(address, hang_up, now)
        self._strangers[address] += 1
        self._all[address] += 1
        return True

    def close(self, name: Hashable) -> None:
        """The connection is gone. Harmless if it was not there."""
        link = self._links.pop(name, None)
        if link is None:
            return
        if not link.author:
            _leave(self._strangers, link.address)
        _leave(self._all, link.address)

    def prove(self, name: Hashable, author: bytes) -> None:
        """A message of `author` on this link was authentic and wanted."""
        link = self._links.get(name)
        if link is not None:
            if not link.author:
                _leave(self._strangers, link.address)
            link.author = author

    def is_proved(self, name: Hashable) -> bool:
        link = self._links.get(name)
        return link is not None and bool(link.author)

    def silent(self, now: float, patience_s: float) -> None:
        """Hangs up on strangers that have asked nothing for so long."""
        for name, link in list(self._links.items()):
            if not link.author and not link.busy and now - link.since > patience_s:
                self.turned_away["silent"] += 1
                self.close(name)
                link.hang_up()

    def _make_room(self) -> bool:
        """Hangs up on the stranger that was there first. False if there is none."""
        name = next((name for name, link in self._links.items() if not link.author), None)
        if name is None:
            return False
        self.turned_away["crowded"] += 1
        link = self._links[name]
        self.close(name)
        link.hang_up()
        return True

    # ------------------------------------------------------------------------------------------ requests

    def ask(self, name: Hashable, now: float) -> bool:
        """Whether a request on this link may be looked at; `done` follows if so."""
        link = self._links.get(name)
        if link is None:  # hung up on meanwhile
            return self._no("requests")
        if not self._take(link.author or link.address, now):
            return self._no("requests")
        link.busy += 1
        return True

    def done(self, name: Hashable, now: float) -> None:
        link = self._links.get(name)
        if link is not None:
            link.busy -= 1
            link.since = now

    def _take(self, whose: str | bytes, now: float) -> bool:
        bucket = self._buckets.get(whose)
        if bucket is None:
            s = self._settings
            rate, burst = (s.name_rate, s.name_burst) if isinstance(whose, bytes) else (s.address_rate, s.address_burst)
            bucket = self._buckets[whose] = Bucket(rate, burst, burst, now)
            if len(self._buckets) > ADDRESSES_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(whose)
        return bucket.take(now)

    # ------------------------------------------------------------------------------------------ bytes

    def hold(self, host: str, size: int) -> bool:
        """Whether a body of so many bytes from there may be read; `release` follows if so."""
        address = address_of(host)
        if self._bytes.total() + size > self._settings.bytes_max:
            return self._no("bytes")
        if self._bytes[address] + size > self._settings.bytes_per_address:
            return self._no("bytes")
        self._bytes[address] += size
        return True

    def release(self, host: str, size: int) -> None:
        address = address_of(host)
        self._bytes[address] -= size
        if not self._bytes[address]:
            del self._bytes[address]

    def _no(self, why: str) -> bool:
        self.turned_away[why] += 1
        return False


def _leave(counts: Counter[str], address: str) -> None:
    counts[address] -= 1
    if not counts[address]:
        del counts[address]


def address_of(host: str) -> str:
    """Whom a connection from `host` is charged to."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ip_network((address, IPV6_CUSTOMER_BITS), strict=False))
    return str(address)
