"""A sealed private key: opens under its password alone, from a file only its owner can read."""

import json
import os
from pathlib import Path

import pytest

from p2pfl.crypto.paillier_file import load, save
from p2pfl.crypto.paillier_keys import PrivateKey
from p2pfl.crypto.paillier_random import Stream
from p2pfl.crypto.paillier_sealed import LIGHT, seal, unseal
from p2pfl.errors import ConfigError

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "paillier.json").read_text())
KEY = PrivateKey(int(VECTORS["keys"][0]["p"], 16), int(VECTORS["keys"][0]["q"], 16))
SEALED = bytes.fromhex(VECTORS["sealed"]["blob"])
PASSWORD = VECTORS["sealed"]["password"].encode()


def test_the_bytes_are_pinned() -> None:
    assert seal(KEY, PASSWORD, Stream(bytes.fromhex(VECTORS["sealed"]["entropy"])), LIGHT) == SEALED
    assert unseal(SEALED, PASSWORD) == KEY


def test_another_password_or_a_changed_byte_opens_nothing() -> None:
    with pytest.raises(ConfigError, match="password is wrong or the file damaged"):
        unseal(SEALED, b"another")
    for at in (5, 20, 60, len(SEALED) - 1):
        changed = bytearray(SEALED)
        changed[at] ^= 1
        with pytest.raises(ConfigError, match="password is wrong or the file damaged"):
            unseal(bytes(changed), PASSWORD)


@pytest.mark.parametrize(
    "blob", [b"", SEALED[:-1], b"\x02" + SEALED[1:], SEALED[:1] + b"\x09" + SEALED[2:], SEALED + b"\0"]
)
def test_another_format_is_refused_before_any_work(blob: bytes) -> None:
    with pytest.raises(ConfigError, match="private Paillier key of version 1"):
        unseal(blob, PASSWORD)


def test_a_file_is_its_owners_alone_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "paillier.key"
    save(path, KEY, PASSWORD, os.urandom, LIGHT)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load(path, PASSWORD) == KEY
    with pytest.raises(ConfigError, match="exists already"):
        save(path, KEY, PASSWORD, os.urandom, LIGHT)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load(path, PASSWORD)


def test_an_empty_password_or_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="an empty one"):
        save(tmp_path / "a.key", KEY, b"", os.urandom)
    assert not (tmp_path / "a.key").exists()
    with pytest.raises(ConfigError, match=r"cannot read the key file .*no\.key"):
        load(tmp_path / "no.key", PASSWORD)
