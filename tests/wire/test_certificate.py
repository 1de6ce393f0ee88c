"""A node's certificate: a function of its key, and read without trusting a byte of it."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import Reject
from p2pfl.wire.certificate import CERTIFICATE_BYTES_MAX, key_of, make
from p2pfl.wire.keyfile import Signer

GOLDEN = "7e31b206492c051d6332c8f7d7f52164d38e9ff8edf9e07bfb700a67d64086e1"


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=10)
def test_it_names_the_node_whose_key_it_is(seed: bytes) -> None:
    signer = Signer(seed)
    certificate = signer.certificate()
    assert key_of(certificate.der) == signer.node
    assert certificate.der == make(seed).der
    assert certificate.digest == sha256(certificate.der).digest()


def test_its_digest_is_the_same_on_every_machine() -> None:
    assert make(b"a" * 32).digest.hex() == GOLDEN


def test_it_is_signed_by_itself_and_never_expires() -> None:
    certificate = x509.load_der_x509_certificate(make(b"a" * 32).der)
    certificate.verify_directly_issued_by(certificate)
    assert certificate.not_valid_after_utc == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_the_secret_is_written_encrypted() -> None:
    text = make(b"a" * 32).pem(b"word")
    assert b"ENCRYPTED PRIVATE KEY" in text
    with pytest.raises(ValueError, match=r"(?i)password"):
        load_pem_private_key(text, b"another")


@given(st.binary(max_size=500), st.integers(0, 400), st.integers(1, 255))
@settings(max_examples=100)
def test_whatever_comes_is_a_key_or_refused(noise: bytes, at: int, flip: int) -> None:
    good = bytearray(make(b"a" * 32).der)
    good[at % len(good)] ^= flip
    for der in (noise, bytes(good), bytes(good[:at])):
        try:
            assert len(key_of(der)) == 32
        except Reject:
            continue


def test_a_key_of_another_kind_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    date = datetime(2020, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, date, datetime(2030, 1, 1, tzinfo=UTC))
    with pytest.raises(Reject, match="Ed25519"):
        key_of(builder.sign(key, SHA256()).public_bytes(Encoding.DER))


@pytest.mark.parametrize("size", [0, CERTIFICATE_BYTES_MAX + 1])
def test_the_bounds_of_its_length(size: int) -> None:
    with pytest.raises(Reject, match="bytes"):
        key_of(bytes(size))
