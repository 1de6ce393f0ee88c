"""TLS between nodes: what a server shows, what a client insists on. Knows certificates and sockets; knows no message.

There is no authority and no name in a certificate that anybody checks. A client asks one thing: is this the node that I
want to reach? It is if the certificate's key is that node's (wire/certificate.py), or if the certificate is the one
that the node named in a record it signed, for a node behind a proxy that speaks TLS for it. Clients show no
certificate: they sign what they say.
"""

import asyncio
import secrets
import ssl
import tempfile
from hashlib import sha256
from hmac import compare_digest
from typing import Protocol

import aiohttp

from p2pfl.core.ids import NodeId
from p2pfl.errors import Reject


class Shown(Protocol):
    """A certificate with its secret (wire/certificate.py)."""

    def pem(self, password: bytes) -> bytes: ...


def server_context(certificate: Shown) -> ssl.SSLContext:
    """TLS 1.3 only. The secret passes through a file, because ssl reads nothing else: encrypted, and gone at once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    password = secrets.token_bytes(24).hex().encode()
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate.pem(password))
        file.flush()
        context.load_cert_chain(file.name, password=password)
    return context


class Pinned(aiohttp.Fingerprint):
    """Whom a connection must lead to. aiohttp asks `check` after the handshake, before the first byte of a request."""

    def __init__(self, node: NodeId, certificate: bytes = b"") -> None:
        """`certificate`: SHA-256 of the one that the node's record names, b"" if it names none."""
        super().__init__(certificate or node)  # for the error's text, of which ours says more
        self._node = node
        self._certificate = certificate

    def check(self, transport: asyncio.Transport) -> None:
        """Raises ServerFingerprintMismatch if another one answered."""
        from p2pfl.wire.certificate import key_of  # the parser is slow to load, and few nodes are without TLS

        shown: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        der = (shown.getpeercert(binary_form=True) if shown is not None else None) or b""
        if self._certificate and compare_digest(sha256(der).digest(), self._certificate):
            return
        try:
            found = key_of(der)
        except Reject:
            found = NodeId(b"")
        if found != self._node:
            host, port, *_ = transport.get_extra_info("peername")
            raise aiohttp.ServerFingerprintMismatch(self._node, found, host, port)


def mismatch(error: aiohttp.ServerFingerprintMismatch) -> str:
    """One line for people."""
    got = f"node {error.got.hex()[:8]}" if error.got else "none of a node"
    return f"{error.host}:{error.port} shows another certificate: expected node {error.expected.hex()[:8]}, got {got}"
