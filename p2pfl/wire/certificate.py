"""A node's TLS certificate: self-signed with the node's own key. Knows X.509; knows no socket and no file.

The certificate's public key *is* the node's name, so whoever knows whom it wants to reach needs no authority, no second
pin and no clock: it compares the key in the certificate with the name, and TLS proves that the other side has the
secret. The certificate is a function of the key alone (Ed25519 is deterministic, the dates are fixed), so its SHA-256
can stand in a record that the node signs, and is the same after every restart.

One key signs messages and TLS handshakes. No signature of one kind can pass for the other: a message's signed text
begins with "p2pfl/v1/", TLS 1.3's with 64 blanks (RFC 8446, 4.4.3), a certificate's with a DER sequence.
"""

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import NameOID

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import KIB
from p2pfl.errors import Reject

CERTIFICATE_BYTES_MAX = 16 * KIB
_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280, 4.1.2.5: no date of expiry. What ends a key is the network's membership, not a clock."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """`der`: what a node shows. The secret key stays with whoever made it."""

    der: bytes
    _key: Ed25519PrivateKey

    @property
    def digest(self) -> bytes:
        """SHA-256 of the certificate: what a member record pins."""
        return sha256(self.der).digest()

    def pem(self, password: bytes) -> bytes:
        """Certificate and secret key as one PEM text, the key encrypted."""
        secret = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
        return x509.load_der_x509_certificate(self.der).public_bytes(Encoding.PEM) + secret


def make(seed: bytes) -> Certificate:
    """The certificate of the node whose secret key has this seed (32 bytes)."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    node = key.public_key().public_bytes_raw()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node.hex())])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, _BEGIN, _END)
    constraints = x509.BasicConstraints(ca=False, path_length=None)
    return Certificate(builder.add_extension(constraints, True).sign(key, None).public_bytes(Encoding.DER), key)


def key_of(der: bytes) -> NodeId:
    """The public key that a certificate is about. Raises Reject unless it can be a node's.

    Its own signature is not looked at: what counts is that TLS proved possession of the key in it.
    """
    if not 0 < len(der) <= CERTIFICATE_BYTES_MAX:
        raise Reject("certificate", f"expected 1 to {CERTIFICATE_BYTES_MAX} bytes, got {len(der)}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of what it will refuse some day: it is remote, not ours
            key = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise Reject("certificate", f"not a certificate ({type(error).__name__})") from None
    if not isinstance(key, Ed25519PublicKey):
        raise Reject("certificate", "expected an Ed25519 key")
    return NodeId(key.public_bytes_raw())
