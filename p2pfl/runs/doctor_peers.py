"""What a diagnosis finds out by asking: this node at its own address, its neighbours, everybody's clock.

Knows what nodes say of themselves; knows no socket. What a node says is a hint for people, never a proof.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from p2pfl import __version__
from p2pfl.config.schema import NodeEntry
from p2pfl.core.ids import NodeId, short
from p2pfl.errors import Reject
from p2pfl.runs.doctor_ask import Heard
from p2pfl.runs.finding import Finding, failed, ok, warning
from p2pfl.wire.certificate import key_of
from p2pfl.wire.envelope import VERSION

CLOCK_GOOD_S, CLOCK_BAD_S = 5.0, 60.0
"""Certificates, logs and the ledger's times want clocks that agree; rounds do not."""

SHUT_OUT = ("revoked", "expired", "banned", "kicked")
NEW_TOKEN = "ask an authority of the network for a new token"


@dataclass(frozen=True, slots=True)
class Own:
    """What this node has, to compare with. Digests in hex; empty if they could not be found out."""

    name: str
    key: NodeId
    network: str
    recipe: str


def check_own_address(entry: NodeEntry, heard: Heard, running: bool) -> Finding:
    """Whether the address that others are told leads here."""
    what = "own address"
    if heard.why_not:
        if not running:
            return ok(what, f"{entry.url}; the node is not running, so nothing answers there")
        do = f"{heard.do}; others use this url of network.toml"
        return failed(what, f"{entry.url} does not lead to this node from here: {heard.why_not}", do)
    name, key = heard.status.get("name"), heard.status.get("node")
    if key != entry.key.hex():
        do = f"correct the url of {entry.name} in network.toml; two nodes may not share one"
        return failed(what, f"{entry.url} leads to {name}, not to {entry.name}", do)
    why = heard.ready.get("why")
    if why:
        return warning(what, f"{entry.url} answers, and is not ready: {why}", "see the table in docs/operations.md")
    return ok(what, f"{entry.url} answers, and is ready")


def check_neighbour(entry: NodeEntry, heard: Heard, own: Own) -> Iterator[Finding]:
    what = f"neighbour {entry.name}"
    if heard.why_not:
        yield failed(what, f"{entry.url}: {heard.why_not}", heard.do)
        return
    status = heard.status
    if status.get("node") != entry.key.hex():
        do = f"ask {entry.name}'s operator for its address and key, and correct them in network.toml"
        yield failed(what, f"{entry.url} is {_short(status.get('name'))} with another key", do)
        return
    found = [
        *_certified(what, entry, heard.certificate),
        *_compared(what, status, own),
        *_version(what, heard.ready),
        *_line(what, status, own),
        *_standing(what, status, own),
    ]
    yield from found or [ok(what, f"{entry.url} answers, round {status.get('round')} of {status.get('rounds')}")]


def _certified(what: str, entry: NodeEntry, certificate: bytes) -> Iterator[Finding]:
    """Nodes hang up where they are not shown the certificate of the node that they mean."""
    if not certificate:
        return
    try:
        shown = key_of(certificate)
    except Reject:
        shown = NodeId(b"")
    if shown != entry.key:
        found = f"{entry.url} shows the certificate of {short(shown) if shown else 'no node'}, so nodes hang up there"
        yield failed(what, found, "something stands in between: let it pass TLS through, or correct the url")


def _compared(what: str, status: Mapping[str, object], own: Own) -> Iterator[Finding]:
    same_file = "all machines need the same network.toml (and genesis.toml): compare `sha256sum network.toml`"
    if own.network and status.get("network") != own.network:
        yield failed(
            what, f"is in another network ({_short(status.get('network'))}, here {own.network[:8]})", same_file
        )
    elif own.recipe and "recipe" in status and status["recipe"] != own.recipe:
        found = f"has another recipe ({_short(status['recipe'])}, here {own.recipe[:8]}), so each refuses the other"
        yield failed(what, found, same_file)


def _version(what: str, ready: Mapping[str, object]) -> Iterator[Finding]:
    wire, version = ready.get("wire"), ready.get("version")
    if not ready:
        yield warning(what, f"runs an older version of p2pfl than {__version__}", "update it, or this one")
    elif wire != VERSION:
        found = f"speaks version {_short(wire)} of the protocol (p2pfl {_short(version)}), here {VERSION}"
        yield failed(what, found, "install the same p2pfl on both machines")
    elif version != __version__:
        yield warning(what, f"runs p2pfl {_short(version)}, here {__version__}", "update the older one when it suits")


def _line(what: str, status: Mapping[str, object], own: Own) -> Iterator[Finding]:
    """How the neighbour's attempts to reach this node went, if it tells."""
    edges = status.get("edges")
    for edge in edges if isinstance(edges, list) else []:
        if isinstance(edge, dict) and edge.get("peer") == own.key.hex() and edge.get("failed_attempts"):
            found = f"answers, and failed to reach this node {edge['failed_attempts']} times in a row"
            do = "it must reach this node's url as well: open the port here, or listen on an outer address"
            yield warning(what, found, do)


def _standing(what: str, status: Mapping[str, object], own: Own) -> Iterator[Finding]:
    """What the neighbour takes this node for."""
    state = next((state for node, state in _members(status) if node == own.key.hex()), None)
    if state in SHUT_OUT:
        do = f"its operator has done that: ask {what.split()[-1]}'s" if state in ("banned", "kicked") else NEW_TOKEN
        yield failed(what, f"shuts this node out: {state}", do)
    elif state in ("suspect", "dead"):
        yield warning(what, f"takes this node for {state}", "it must reach this node's url; or start this node")


def check_members(status: Mapping[str, object]) -> Iterator[Finding]:
    """Who is there, as this node itself sees it; nothing if it watches no members."""
    states = dict(_members(status))
    away = sorted(node for node, state in states.items() if state != "alive")
    names = ", ".join(f"{node[:8]} {states[node]}" for node in away[:8])
    if away:
        found = f"{len(states) - len(away)} of {len(states)} alive; {names}{', ...' * (len(away) > 8)}"
        yield warning("members", found, "look for them with p2pfl peers, and ask their operators")
    elif states:
        yield ok("members", f"all {len(states)} alive")


def _members(status: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Keys and states in what a node says of the members."""
    membership = status.get("membership")
    rows = membership.get("members") if isinstance(membership, dict) else None
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict):
            yield _harmless(row.get("node"), 64), _harmless(row.get("state"), 16)


def check_clock(heard: Sequence[Heard]) -> Finding:
    """This machine's clock against the middle of the others'."""
    ahead = [h.ahead_s for h in heard if h.ahead_s is not None and not h.why_not]
    if not ahead:
        return warning("clock", "nobody answers to compare with", "see what is said of the neighbours")
    off = -median(ahead)
    where = "ahead of" if off > 0 else "behind"
    found = f"{abs(off):.0f} s {where} {len(ahead)} other{'s' if len(ahead) > 1 else ''}"
    do = "set the clock, and let a time service keep it: timedatectl set-ntp true"
    if abs(off) > CLOCK_BAD_S:
        return failed("clock", found, do)
    return warning("clock", found, do) if abs(off) > CLOCK_GOOD_S else ok("clock", found)


def _short(value: object) -> str:
    """A peer's word for people: a digest's first digits, or the beginning of a text."""
    text = _harmless(value, 64)
    return text[:8] if len(text) == 64 else text[:32]


def _harmless(value: object, chars_max: int) -> str:
    return "".join(c for c in str(value)[: 4 * chars_max] if c.isprintable())[:chars_max]
