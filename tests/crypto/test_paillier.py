"""Paillier: what is decrypted is the arithmetic on what was encrypted, also under `phe`; bad numbers are refused."""

import contextlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.crypto import paillier
from p2pfl.crypto.paillier_keys import PrivateKey, PublicKey, generate, read_public
from p2pfl.crypto.paillier_random import Stream
from p2pfl.errors import ConfigError, Reject

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "paillier.json").read_text())
KEY, OTHER = (PrivateKey(int(k["p"], 16), int(k["q"], 16)) for k in VECTORS["keys"])
PUBLIC = KEY.public
HALF = int(PUBLIC.n) >> 1
ANYONE = paillier.PublicEncryptor(PUBLIC, os.urandom, 256)
HOLDER = paillier.HolderEncryptor(KEY, os.urandom, 256)

few = settings(max_examples=15, deadline=None)
values = st.integers(-HALF, HALF)


@few
@given(st.lists(values, max_size=4), st.sampled_from([ANYONE, HOLDER]))
def test_decrypted_is_what_was_encrypted(numbers: list[int], encryptor: paillier.Encryptor) -> None:
    assert paillier.decrypt(KEY, paillier.encrypt(encryptor, numbers)) == numbers


@few
@given(a=st.integers(-(2**900), 2**900), b=st.integers(-(2**900), 2**900), k=st.integers(-(2**60), 2**60))
def test_sums_and_multiples_of_ciphertexts_are_those_of_values(a: int, b: int, k: int) -> None:
    left, right = paillier.encrypt(ANYONE, [a]), paillier.encrypt(HOLDER, [b])
    tripled = paillier.multiply_known(PUBLIC, paillier.add(PUBLIC, left, right), [k])
    assert paillier.decrypt(KEY, paillier.add_known(PUBLIC, tripled, [b])) == [(a + b) * k + b]


def test_the_usual_exponents_decrypt_too() -> None:
    for encryptor in (paillier.PublicEncryptor(PUBLIC, os.urandom), paillier.HolderEncryptor(KEY, os.urandom)):
        assert paillier.decrypt(KEY, paillier.encrypt(encryptor, [-5, 2**1000])) == [-5, 2**1000]


def test_the_largest_values_fit_and_one_more_does_not() -> None:
    assert paillier.decrypt(KEY, paillier.encrypt(ANYONE, [HALF, -HALF])) == [HALF, -HALF]
    for value in (HALF + 1, -HALF - 1):
        with pytest.raises(ConfigError, match=r"below n/2 = 2\^2047"):
            paillier.encrypt(ANYONE, [value])


def test_no_two_ciphertexts_are_equal_and_refreshed_ones_are_new() -> None:
    same = paillier.encrypt(ANYONE, [7] * 5)
    fresh = paillier.refresh(HOLDER, same)
    assert len(set(same) | set(fresh)) == 10
    assert paillier.decrypt(KEY, fresh) == [7] * 5


def test_threads_decrypt_the_same_in_order() -> None:
    numbers = list(range(-20, 20))
    with ThreadPoolExecutor(2) as threads:
        assert paillier.decrypt(KEY, paillier.encrypt(HOLDER, numbers), threads) == numbers


def test_phe_decrypts_ours_and_we_decrypt_phe() -> None:
    phe = pytest.importorskip("phe")
    theirs = phe.PaillierPublicKey(int(PUBLIC.n))
    private = phe.PaillierPrivateKey(theirs, int(KEY.p), int(KEY.q))
    numbers = [0, 1, -1, 3**300, -(3**300)]
    for encryptor in (ANYONE, HOLDER):
        found = [private.raw_decrypt(int(c)) for c in paillier.encrypt(encryptor, numbers)]
        assert found == [v % PUBLIC.n for v in numbers]
    assert paillier.decrypt(KEY, [theirs.raw_encrypt(int(v % PUBLIC.n)) for v in numbers]) == numbers
    assert private.decrypt(phe.EncryptedNumber(theirs, int(paillier.encrypt(ANYONE, [-41])[0]))) == -41


def test_another_key_reads_nothing() -> None:
    assert paillier.decrypt(OTHER, [c % OTHER.public.modulus for c in paillier.encrypt(ANYONE, [5])]) != [5]


def test_bytes_of_keys_and_ciphertexts_are_pinned() -> None:
    for key, vector in zip((KEY, OTHER), VECTORS["keys"], strict=True):
        assert generate(2048, Stream(bytes.fromhex(vector["entropy"]))) == key
    assert PUBLIC.to_bytes().hex() == VECTORS["public"]
    pinned = VECTORS["ciphertexts"]
    numbers, blob = [int(v) for v in pinned["values"]], bytes.fromhex(pinned["blob"])
    encryptor = paillier.PublicEncryptor(PUBLIC, Stream(bytes.fromhex(pinned["entropy"])), pinned["exponent_bits"])
    assert paillier.to_bytes(PUBLIC, paillier.encrypt(encryptor, numbers)) == blob
    assert paillier.decrypt(KEY, paillier.from_bytes(PUBLIC, blob, len(numbers))) == numbers


@pytest.mark.parametrize("bits", [2048, 3072])
def test_made_keys_are_as_the_paper_wants_them(bits: int) -> None:
    key = generate(bits, os.urandom)
    assert key.public.bits == bits
    assert key.p % 4 == key.q % 4 == 3
    assert read_public(key.public.to_bytes()) == key.public


def test_a_ciphertext_outside_the_group_is_refused() -> None:
    n2 = int(PUBLIC.modulus)
    good = paillier.encrypt(ANYONE, [1])
    for bad in (0, int(KEY.p), int(PUBLIC.n) * 5, n2, n2 + 1):
        with pytest.raises(Reject, match="paillier-group"):
            paillier.from_bytes(PUBLIC, paillier.to_bytes(PUBLIC, [*good, bad]), 2)


@few
@given(blob=st.binary(max_size=600), num=st.integers(0, 3))
def test_any_bytes_are_read_or_refused(blob: bytes, num: int) -> None:
    with contextlib.suppress(Reject):
        assert len(paillier.from_bytes(PUBLIC, blob, num)) == num


@pytest.mark.parametrize(
    "n",
    [
        (int(PUBLIC.n) - 1).to_bytes(256, "big"),
        (3 * int(PUBLIC.n) % 2**2048 | 1 << 2047).to_bytes(256, "big")[:-1] + b"\x00",
        int(KEY.p).to_bytes(128, "big"),
        (int(KEY.p) ** 2).to_bytes(256, "big"),
        bytes(256),
        b"",
        b"\xff" * 257,
    ],
    ids=["even", "small factor", "half the size", "square", "zero", "empty", "too long"],
)
def test_a_modulus_that_is_no_key_is_refused(n: bytes) -> None:
    with pytest.raises(Reject, match="paillier-key"):
        read_public(n)


def test_bad_private_keys_and_sizes_are_named() -> None:
    with pytest.raises(ConfigError, match="2048, 3072 or 4096 bits, got 1024"):
        generate(1024, os.urandom)
    with pytest.raises(ConfigError, match="two primes"):
        PrivateKey(KEY.p, KEY.q + 2)
    with pytest.raises(ConfigError, match="two different primes"):
        PrivateKey(KEY.p, KEY.p)
    with pytest.raises(ConfigError, match="odd modulus"):
        PublicKey(15)
    for bits in (128, 1032, 257):
        with pytest.raises(ConfigError, match="256 to 1024 exponent bits"):
            paillier.PublicEncryptor(PUBLIC, os.urandom, bits)


def test_a_private_key_does_not_show_in_its_repr() -> None:
    assert repr(KEY) == "PrivateKey(<2048 bits>)"


def test_a_stream_is_one_sequence_however_it_is_cut() -> None:
    whole = Stream(bytes(32))(200_000)
    cut = Stream(bytes(32))
    assert b"".join(cut(n) for n in (1, 70_000, 0, 129_999)) == whole
    assert Stream(b"\1" * 32)(32) != whole[:32]
