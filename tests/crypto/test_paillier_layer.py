"""The encrypted layer equals the plain one to the places of its fixed point; wrong keys and bad bytes are refused."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.crypto import paillier_layer as layer
from p2pfl.crypto.packing import Fixed
from p2pfl.crypto.paillier import HolderEncryptor, PublicEncryptor
from p2pfl.crypto.paillier_keys import PrivateKey
from p2pfl.errors import ConfigError, Reject

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "paillier.json").read_text())
KEY, OTHER = (PrivateKey(int(k["p"], 16), int(k["q"], 16)) for k in VECTORS["keys"])
OWNER = HolderEncryptor(KEY, os.urandom, 256)
LABELS = PublicEncryptor(KEY.public, os.urandom, 256)
FORWARD = layer.Product(Fixed(16, 16.0), Fixed(16, 8.0), 256)
GRADIENT = layer.Product(Fixed(16, 16.0), Fixed(20, 1.0), 256)


def send(product: layer.Product, matrix: np.ndarray) -> layer.Hidden:
    return layer.read_matrix(KEY.public, product, layer.encrypt_matrix(OWNER, product, matrix), matrix.shape)


@settings(max_examples=8, deadline=None)
@given(b=st.integers(1, 45), d=st.integers(1, 6), o=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_the_forward_pass_with_a_share_is_that_of_the_summed_weights(b: int, d: int, o: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w, e = rng.uniform(-16, 16, (b, d)), rng.uniform(-8, 8, (d, o)), rng.normal(size=(d, o))
    masked, masks = layer.multiply(LABELS, FORWARD, send(FORWARD, x.T), w, os.urandom)
    answer = layer.open_masked(KEY, FORWARD, masked, (o, b), (x @ e).T)
    z = layer.unmask(FORWARD, answer, masks, (o, b)).T
    assert np.abs(z - x @ (w + e)).max() <= d * 2**-16 * 16


def test_the_extremes_of_every_bound_fit() -> None:
    x, w = np.full((3, 256), -16.0), np.full((256, 2), 8.0)
    masked, masks = layer.multiply(LABELS, FORWARD, send(FORWARD, x.T), w, os.urandom)
    share = np.full((2, 3), -(2.0 ** (FORWARD.sum_bits - 1 - 32)))
    answer = layer.open_masked(KEY, FORWARD, masked, (2, 3), share)
    z = layer.unmask(FORWARD, answer, masks, (2, 3)).T
    assert np.array_equal(z, x @ w + share.T)


def test_the_weight_gradient_with_noise_is_that_of_plain_arithmetic() -> None:
    rng = np.random.default_rng(1)
    x, dz, noise = rng.normal(size=(40, 5)), rng.uniform(-1, 1, (40, 3)), rng.normal(size=(5, 3))
    masked, masks = layer.multiply(LABELS, GRADIENT, send(GRADIENT, x), dz, os.urandom)
    answer = layer.open_masked(KEY, GRADIENT, masked, (3, 5), noise.T)
    assert np.abs(layer.unmask(GRADIENT, answer, masks, (3, 5)).T - (x.T @ dz + noise)).max() < 1e-3


def test_the_input_gradient_comes_to_the_owner_alone() -> None:
    rng = np.random.default_rng(2)
    e, w, dz = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.uniform(-1, 1, (30, 3))
    weights = layer.add_matrix(KEY.public, GRADIENT, send(GRADIENT, e.T), w.T)
    blob = layer.multiply_open(LABELS, GRADIENT, weights, dz.T)
    assert np.abs(layer.open_product(KEY, GRADIENT, blob, (30, 5)) - dz @ (w + e).T).max() < 1e-3


def test_workers_give_the_same() -> None:
    x, w = np.linspace(-1, 1, 80).reshape(40, 2), np.array([[0.5], [-2.0]])
    with ThreadPoolExecutor(2) as pool:
        masked, masks = layer.multiply(LABELS, FORWARD, send(FORWARD, x.T), w, os.urandom, pool)
        answer = layer.open_masked(KEY, FORWARD, masked, (1, 40), threads=pool)
    assert np.abs(layer.unmask(FORWARD, answer, masks, (1, 40)).T - x @ w).max() < 1e-3


def test_a_wrong_key_fails_loudly() -> None:
    x, w = np.ones((3, 2)), np.ones((2, 2))
    masked, masks = layer.multiply(LABELS, FORWARD, send(FORWARD, x.T), w, os.urandom)
    with pytest.raises(Reject):
        layer.unmask(FORWARD, layer.open_masked(OTHER, FORWARD, masked, (2, 3)), masks, (2, 3))
    masked_again, _ = layer.multiply(LABELS, FORWARD, send(FORWARD, x.T), w, os.urandom)
    answer = layer.open_masked(KEY, FORWARD, masked_again, (2, 3))
    with pytest.raises(Reject, match="packing-range"):
        layer.unmask(FORWARD, answer, masks, (2, 3))


def test_what_the_owner_sees_does_not_depend_on_the_weights() -> None:
    """With one and the same mask, only 2^-40 of the mask's range tells two results apart: values stay far inside it."""
    assert 2.0**FORWARD.sum_bits / 2.0 ** (FORWARD.sum_bits + 40) <= 2**-40
    x = np.ones((2, 1))
    opened = []
    for w in (8.0, -8.0):
        masked, _ = layer.multiply(LABELS, FORWARD, send(FORWARD, x.T), np.array([[w]]), os.urandom)
        opened.append(layer.open_masked(KEY, FORWARD, masked, (1, 2)))
    slots = [FORWARD.slots.from_bytes(o, 2)[0] & (2**FORWARD.slots.width - 1) for o in opened]
    assert all(v > 2**70 for v in slots)  # fails once in 2^18 runs


def test_bad_bytes_are_the_senders_fault() -> None:
    blob = layer.encrypt_matrix(OWNER, FORWARD, np.ones((2, 3)))
    for bad in (blob[:-1], b"", blob + blob):
        with pytest.raises(Reject, match="paillier-size"):
            layer.read_matrix(KEY.public, FORWARD, bad, (2, 3))
    with pytest.raises(Reject, match="paillier-group"):
        layer.read_matrix(KEY.public, FORWARD, bytes(len(blob)), (2, 3))
    with pytest.raises(Reject, match="paillier-size"):
        layer.open_masked(KEY, FORWARD, blob[:-5], (2, 3))


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigError, match=r"below 2\^52: 100000 terms .*fewer columns"):
        layer.Product(Fixed(16, 16.0), Fixed(16, 8.0), 100_000)
    with pytest.raises(ConfigError, match="embeddings within 16 of 0"):
        layer.encrypt_matrix(OWNER, FORWARD, [[17.0]], "embeddings")
    with pytest.raises(ConfigError, match=r"at most 256 rows .*, got 257"):
        layer.encrypt_matrix(OWNER, FORWARD, np.zeros((257, 1)))
    hidden = send(FORWARD, np.zeros((1, 1)))
    with pytest.raises(ConfigError, match="within 8 of 0"):
        layer.multiply(LABELS, FORWARD, hidden, [[8.5]], os.urandom)
    masked, _ = layer.multiply(LABELS, FORWARD, hidden, [[1.0]], os.urandom)
    with pytest.raises(ConfigError, match=r"noise .* within"):
        layer.open_masked(KEY, FORWARD, masked, (1, 1), [[1e9]])
