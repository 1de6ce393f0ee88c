"""Genesis: one document, one network; weak keys and everything that is not exactly so is refused in one line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError
from p2pfl.ledger.blocks.genesis import Genesis, check_key, meaning, parse_genesis
from p2pfl.ledger.blocks.votes import Validators
from p2pfl.wire.keyfile import Signer, verify

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "genesis.json").read_text())
KEYS = tuple(sorted(Signer(bytes([i]) * 32).node for i in range(1, 6)))


def genesis(**changes: Any) -> Genesis:
    return replace(Genesis("trial", KEYS[:2], KEYS[:4], parameters=(("cap", 3),)), **changes)


def test_the_vectors_are_what_we_write() -> None:
    for vector in VECTORS["documents"]:
        document = parse_genesis(vector["toml"], "vector")
        assert document.raw.hex() == vector["raw"]
        assert document.digest.hex() == vector["digest"]
        assert document.to_toml() == vector["toml"]


@pytest.mark.parametrize("vector", VECTORS["weak_keys"], ids=lambda v: v["what"])
def test_a_weak_key_is_no_validator(vector: dict[str, str]) -> None:
    key = NodeId(bytes.fromhex(vector["key"]))
    with pytest.raises(ConfigError, match="weak or malformed") as caught:
        genesis(validators=(key,))
    assert "\n" not in str(caught.value)
    assert "validators[0]" in str(caught.value)


@pytest.mark.parametrize("vector", VECTORS["signatures"], ids=lambda v: v["what"])
def test_signatures_on_which_libraries_disagree(vector: Any) -> None:
    key, text, signature = (bytes.fromhex(vector[name]) for name in ("key", "text", "signature"))
    assert verify(key, text, signature) is vector["good"]


@settings(max_examples=30)
@given(st.integers(0, 10**15), st.integers(1, 1000), st.integers(1, 2), st.text("abc.-_ Z09", min_size=1, max_size=20))
def test_text_and_document_are_one(supply: int, window: int, sponsors: int, name: str) -> None:
    name = "n" + name
    document = genesis(name=name, supply=supply, window=window, sponsors=sponsors)
    assert parse_genesis(document.to_toml(), "here") == document


def test_every_value_is_in_the_network_id() -> None:
    others = [
        genesis(name="trial2"),
        genesis(authorities=KEYS[:3]),
        genesis(validators=KEYS[:3]),
        genesis(sponsors=2),
        genesis(supply=5),
        genesis(window=5),
        genesis(epoch=5),
        genesis(rule="other"),
        genesis(parameters=()),
    ]
    assert len({document.digest for document in [genesis(), *others]}) == len(others) + 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("format = 1", "format = 2", "format: expected 1, got 2"),
        ("format = 1", "format = true", "format: expected 1, got True"),
        ("sponsors = 1", "sponsors = 3", "sponsors: expected a whole number from 1 to 2, got 3"),
        ("sponsors = 1", "sponsors = true", "sponsors: expected a whole number"),
        ("sponsors = 1", "", "sponsors: missing"),
        ("window = 16", "window = 0", "window: expected a whole number from 1"),
        ("window = 16", "windows = 16", "windows: unknown key"),
        ('rule = "receipts"', 'rule = "No"', "rule: expected the name of a rule"),
        ('"cap" = 3', '"cap" = 3.5', "parameters.cap: expected a whole number"),
        (KEYS[0].hex(), KEYS[0].hex().upper(), "authorities[0]: expected a public key of 64 hex digits"),
        (f'    "{KEYS[1].hex()}",\n', f'    "{KEYS[0].hex()}",\n', "expected each key once, in ascending order"),
    ],
)
def test_what_differs_is_named(old: str, new: str, expected: str) -> None:
    text = genesis().to_toml()
    assert old in text
    with pytest.raises(ConfigError) as caught:
        parse_genesis(text.replace(old, new), "genesis.toml")
    assert str(caught.value).startswith("genesis.toml: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bounds_of_the_validators() -> None:
    many = tuple(sorted(Signer(i.to_bytes(32, "big")).node for i in range(1, 130)))
    assert genesis(validators=many[:128]).voters.f == 42
    with pytest.raises(ConfigError, match="expected 1 to 128 keys, got 129"):
        genesis(validators=many)
    with pytest.raises(ConfigError, match="got 0"):
        genesis(validators=())


def test_what_a_quorum_is() -> None:
    sizes = {1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 5, 7: 5, 16: 11}
    for n, q in sizes.items():
        voters = Validators(tuple(NodeId(bytes([i]) * 32) for i in range(n)))
        assert voters.quorum == q
        assert 2 * q - n > voters.f  # two quorums share an honest validator
        assert n - voters.f >= q  # the honest alone are a quorum
    assert "one that is away stops finality" in meaning(Validators(KEYS[:3]))
    assert "f = 1" in meaning(Validators(KEYS[:4]))


def test_a_key_of_a_key_file_is_sound() -> None:
    for key in KEYS:
        check_key(key)
