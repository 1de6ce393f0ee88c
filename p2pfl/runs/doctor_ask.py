"""Asks a node how it is, for a diagnosis: what it answers, how far its clock is, or why it does not answer.

Knows HTTP and sockets; judges nothing. Nothing that is heard here is more than a hint: certificates are not checked,
because an address that shows a false one is something to tell, not to hide.
"""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from p2pfl.core.limits import CONTROL_BYTES_MAX

PATIENCE_S = 4.0
AT_ONCE = 16
ANSWER_BYTES_MAX = 16 * CONTROL_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Heard:
    """Of one address. `why_not` is empty if it answered as a node does; `do` then says what may help."""

    url: str
    status: Mapping[str, Any] = field(default_factory=dict)
    ready: Mapping[str, Any] = field(default_factory=dict)
    """What /readyz says; empty if the node has no such page."""
    certificate: bytes = b""
    """What its TLS showed, in DER; empty without TLS."""
    ahead_s: float | None = None
    """How far its clock is ahead of this machine's, to about a second."""
    why_not: str = ""
    do: str = ""


def ask_all(urls: Sequence[str], patience_s: float = PATIENCE_S) -> list[Heard]:
    """Some at a time, in the order of `urls`."""
    if not urls:
        return []
    with ThreadPoolExecutor(min(AT_ONCE, len(urls))) as pool:
        return list(pool.map(lambda url: ask(url, patience_s), urls))


def ask(url: str, patience_s: float = PATIENCE_S) -> Heard:
    """Never raises for anything that the network or the other side does."""
    try:
        code, status, more = _get(url, "/v1/status", patience_s)
        if code == 503:
            return Heard(url, why_not="it answers, and is starting, stopping or busy", do="ask again in a minute")
        if code != 200 or "node" not in status:
            do = "is another program there? Correct the address in network.toml, or that program's port"
            return Heard(url, why_not=f"something answers (status {code}) that is not a p2pfl node", do=do)
        _, ready, _ = _get(url, "/readyz", patience_s)
        return Heard(url, status, ready if "ready" in ready else {}, *more)
    except (OSError, ValueError, http.client.HTTPException) as error:
        why_not, do = _in_words(error, url, patience_s)
        return Heard(url, why_not=why_not, do=do)


def _get(url: str, path: str, patience_s: float) -> tuple[int, Mapping[str, Any], tuple[bytes, float | None]]:
    """Status, the JSON object in the answer (empty if there is none); the certificate and the clock's difference."""
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, patience_s)
    try:
        begun = time.time()
        connection.connect()
        shown = connection.sock.getpeercert(True) if isinstance(connection.sock, ssl.SSLSocket) else None
        connection.request("GET", path, headers={"User-Agent": "p2pfl-doctor"})
        reply = connection.getresponse()
        ended = time.time()
        raw = reply.read(ANSWER_BYTES_MAX)
    finally:
        connection.close()
    try:
        value = json.loads(raw)
    except ValueError:
        value = {}
    more = shown or b"", _ahead(reply.getheader("Date"), begun, ended)
    return reply.status, value if isinstance(value, dict) else {}, more


def _connection(scheme: str, host: str, port: int | None, patience_s: float) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=patience_s)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=patience_s, context=context)


def _ahead(date: str | None, begun: float, ended: float) -> float | None:
    """A Date is cut to whole seconds: half of one is the best guess."""
    if date is None:
        return None
    try:
        theirs = parsedate_to_datetime(date).timestamp() + 0.5
    except ValueError:
        return None
    return theirs - (begun + ended) / 2


def _in_words(error: Exception, url: str, patience_s: float) -> tuple[str, str]:
    """What happened, and what may help."""
    parts = urlsplit(url)
    match error:
        case socket.gaierror():
            return f"the name {parts.hostname} is not known", "correct the url in network.toml, or the name service"
        case ConnectionRefusedError():
            do = "start that node; if it runs, compare its `listen` port with its url"
            return f"nothing listens on port {parts.port} of {parts.hostname}", do
        case TimeoutError():
            do = "is the machine on? Open the port in its firewall, and forward it if it is behind a router"
            return f"no answer within {patience_s:g} s", do
        case ssl.SSLError():
            do = "one side speaks https and the other http: compare the url with how that node was started"
            return f"no TLS connection ({error.reason or 'broken off'})", do
        case http.client.HTTPException() | ConnectionError():
            do = "is its url http and the node https, or another program there?"
            return f"the connection broke ({type(error).__name__})", do
        case OSError(strerror=text) if text:
            return text.lower(), "correct the address, or the way to it"
    return f"{type(error).__name__}: {error}", "correct the url in network.toml"
