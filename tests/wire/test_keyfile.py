"""Key files: private, whole, never overwritten; and a check of signatures that never raises."""

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.errors import ConfigError
from p2pfl.wire import keyfile
from p2pfl.wire.keyfile import Signer, parse_public, verify

SEED = bytes(range(32))
PUBLIC = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
ONE_LINE = r"^[^\n]+$"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys" / "node.key"


def write(path, text, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    path.chmod(mode)
    return path


def test_a_new_key_is_its_owners_alone_and_comes_back(path):
    signer = keyfile.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keyfile.load(path).node == signer.node
    assert keyfile.create(path.with_name("other")).node != signer.node


def test_the_format_of_a_key_file(path):
    write(path, b"p2pfl-key-v1 " + SEED.hex().encode() + b"\n")
    assert keyfile.load(path).node.hex() == PUBLIC
    new = keyfile.create(path.with_name("new"))
    name, seed_hex = path.with_name("new").read_text().removesuffix("\n").split(" ")
    assert name == "p2pfl-key-v1"
    assert Signer(bytes.fromhex(seed_hex)).node == new.node


def test_a_key_is_never_overwritten(path):
    signer = keyfile.create(path)
    with pytest.raises(ConfigError, match="never overwritten"):
        keyfile.create(path)
    link = path.with_name("link")
    link.symlink_to(path.with_name("nowhere"))
    with pytest.raises(ConfigError, match="never overwritten"):
        keyfile.create(link)
    assert keyfile.load(path).node == signer.node


def test_a_place_where_no_file_can_be_is_named(path):
    write(path, b"")
    with pytest.raises(ConfigError, match="cannot write the key file") as error:
        keyfile.create(path / "below" / "a file")
    assert "exists" not in str(error.value)
    with pytest.raises(ConfigError, match="cannot write the key file"):
        keyfile.create(path / "below")


def test_a_full_disk_leaves_no_half_key(path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        keyfile.create(path)
    assert not path.exists()


def test_a_missing_key_file_says_how_to_make_one(path):
    with pytest.raises(ConfigError, match=f"No such file or directory; make one with: p2pfl keys new {path}"):
        keyfile.load(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_key_that_others_may_touch_is_refused(path, mode):
    write(path, b"p2pfl-key-v1 " + SEED.hex().encode() + b"\n", mode)
    with pytest.raises(ConfigError, match=f"mode {mode:o}.*chmod 600"):
        keyfile.load(path)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_key_that_is_its_owners_alone_is_read(path, mode):
    write(path, b"p2pfl-key-v1 " + SEED.hex().encode(), mode)
    assert keyfile.load(path).node.hex() == PUBLIC


HEX = SEED.hex().encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        HEX,
        b"p2pfl-key-v1",
        b"p2pfl-key-v2 " + HEX,
        b"p2pfl-key-v1 " + HEX[:-2],
        b"p2pfl-key-v1 " + HEX + b"00",
        b"p2pfl-key-v1 " + HEX[:-1] + b"g",
        b"p2pfl-key-v1 " + HEX[:-2] + b"  ",
        b"p2pfl-key-v1 " + HEX[:30] + b"    " + HEX[34:],
        b"p2pfl-key-v1 " + HEX + b"\n" + b"p2pfl-key-v1 " + HEX,
        b"\xff\xfe\x00",
    ],
)
def test_a_malformed_key_file_is_refused_in_one_line_without_its_content(path, text):
    with pytest.raises(ConfigError, match=ONE_LINE) as error:
        keyfile.load(write(path, text))
    assert str(path) in str(error.value)
    assert HEX.decode()[:16] not in str(error.value)


def test_a_directory_is_no_key_file(path):
    with pytest.raises(ConfigError, match="cannot read the key file"):
        keyfile.load(path.parent.parent)


def test_signatures_are_deterministic_and_bound_to_key_and_text():
    one, other = Signer(SEED), Signer(bytes(32))
    signature = one.sign(b"text")
    assert len(signature) == 64
    assert signature == Signer(SEED).sign(b"text")
    assert verify(one.node, b"text", signature)
    assert not verify(other.node, b"text", signature)
    assert not verify(one.node, b"tex", signature)


def test_the_first_vector_of_rfc_8032():
    signer = Signer(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert signer.node.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert signer.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b"
    )


@given(st.binary(max_size=40), st.binary(max_size=10), st.binary(max_size=70))
def test_checking_a_signature_never_raises(node, text, signature):
    assert not verify(node, text, signature)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
def test_not_even_on_bytes_of_the_right_length(node, signature):
    assert not verify(node, b"text", signature)


def test_a_key_of_small_order_signs_nothing():
    """The point 1 is a public key whose signatures anybody can make; the library must refuse it."""
    one = (1).to_bytes(32, "little")
    assert not verify(one, b"text", one + bytes(32))


def test_public_keys_are_64_hex_digits():
    assert parse_public(PUBLIC).hex() == PUBLIC
    assert parse_public(PUBLIC.upper()).hex() == PUBLIC
    spaced = PUBLIC[:32] + " " + PUBLIC[32:]
    for text in (
        "",
        PUBLIC[:-1],
        PUBLIC[:-2],
        PUBLIC + "00",
        PUBLIC[:-1] + "g",
        spaced,
        PUBLIC + "\n",
        "é" * 64,
        "x" * 5000,
    ):
        with pytest.raises(ConfigError, match=ONE_LINE) as error:
            parse_public(text)
        assert len(str(error.value)) < 200
