"""CKKS behind the same operations as Paillier's layer: equal to plain arithmetic to 1e-3; bad bytes refused."""

import numpy as np
import pytest

from p2pfl.core.noise import Key
from p2pfl.crypto.packing import Fixed
from p2pfl.crypto.paillier_layer import Product
from p2pfl.errors import ConfigError, Reject

pytest.importorskip("tenseal", reason="TenSEAL is not installed (extra: ckks)")

from p2pfl.crypto import ckks

PRODUCT = Product(Fixed(16, 16.0), Fixed(16, 8.0), 32)
SEED = Key(bytes(32))


@pytest.fixture(scope="module")
def keys() -> tuple[bytes, bytes]:
    return ckks.generate(), ckks.generate()


@pytest.fixture(scope="module")
def sides(keys: tuple[bytes, bytes]) -> tuple[ckks.CkksCipher, ckks.CkksCipher]:
    """The owner (party 1), who holds a key, and the label holder."""
    owner, label = ckks.CkksCipher((1, keys[0])), ckks.CkksCipher(None)
    for side in (owner, label):
        side.learn_keys([b"", owner.own_key()])
        side.turn(Key(bytes([7]) * 32))
    return owner, label


def test_a_masked_layer_with_a_share_is_that_of_plain_arithmetic(
    sides: tuple[ckks.CkksCipher, ckks.CkksCipher],
) -> None:
    owner, label = sides
    rng = np.random.default_rng(0)
    x, w, e = rng.uniform(-4, 4, (40, 6)), rng.uniform(-1, 1, (6, 3)), rng.normal(size=(6, 3))
    w[2] = 0.0
    sealed = owner.seal(1, PRODUCT, x.T)
    made = label.multiply(1, PRODUCT, sealed, (6, 40), w)
    share = owner.seal_sums(1, PRODUCT, (x @ e).T)
    total = label.add(1, PRODUCT, [made, share, label.seal_mask(1, PRODUCT, (3, 40), SEED)], (3, 40))
    opened = owner.open_masked(total)
    assert np.abs(np.frombuffer(opened)).mean() > 2.0 ** (ckks.MASK_BITS - 4)
    assert np.abs(label.unmask(PRODUCT, opened, (3, 40), SEED).T - x @ (w + e)).max() < 1e-3


def test_what_is_the_owners_comes_to_it_alone(sides: tuple[ckks.CkksCipher, ckks.CkksCipher]) -> None:
    owner, label = sides
    rng = np.random.default_rng(1)
    e, v, dz = rng.normal(size=(3, 5)), rng.normal(size=(3, 5)), rng.uniform(-1, 1, (3, 20))
    made = label.multiply(1, PRODUCT, owner.seal(1, PRODUCT, e), (3, 5), dz, v)
    assert np.abs(owner.open_own(PRODUCT, made, (20, 5)) - dz.T @ (e + v)).max() < 1e-3
    with pytest.raises(Reject, match="I hold no key"):
        label.open_own(PRODUCT, made, (20, 5))


def test_another_key_is_noticed(keys: tuple[bytes, bytes], sides: tuple[ckks.CkksCipher, ckks.CkksCipher]) -> None:
    owner, label = sides
    total = label.add(1, PRODUCT, [owner.seal_sums(1, PRODUCT, np.ones((2, 9)))], (2, 9))
    opened = ckks.CkksCipher((1, keys[1])).open_masked(total)
    with pytest.raises(Reject, match="ckks-range"):
        label.unmask(PRODUCT, opened, (2, 9), SEED)


def test_bad_bytes_are_refused(keys: tuple[bytes, bytes], sides: tuple[ckks.CkksCipher, ckks.CkksCipher]) -> None:
    owner, label = sides
    good = owner.seal(1, PRODUCT, np.ones((1, 4)))
    for bad in (b"", good[:-1], good + b"x", b"\2" + good[1:], good[:8] + bytes(len(good) - 8)):
        with pytest.raises(Reject, match="ckks-"):
            label.add(1, PRODUCT, [bad], (1, 4))
    with pytest.raises(Reject, match="ckks-size"):
        label.add(1, PRODUCT, [good], (1, 5))
    with pytest.raises(Reject, match="ckks-size"):
        label.unmask(PRODUCT, bytes(16), (1, 3), SEED)
    with pytest.raises(Reject, match="ckks-range"):
        label.unmask(PRODUCT, np.full((1, 3), np.nan).tobytes(), (1, 3), SEED)
    for key in (b"garbage", keys[0], bytes(ckks.KEY_BYTES_MAX + 1)):
        with pytest.raises(Reject, match="ckks-key"):
            label.check_key(key)
    with pytest.raises(Reject, match="from party 3"):
        label.seal(3, PRODUCT, np.ones((1, 4)))


def test_what_does_not_fit_is_named(sides: tuple[ckks.CkksCipher, ckks.CkksCipher]) -> None:
    owner, _ = sides
    with pytest.raises(ConfigError, match="embeddings within 16 of 0"):
        owner.seal(1, PRODUCT, np.full((1, 2), 17.0), "embeddings")
    with pytest.raises(ConfigError, match="at most 4096 numbers"):
        owner.seal(1, PRODUCT, np.ones((1, 4097)))
    with pytest.raises(ConfigError, match="noise within"):
        owner.seal_sums(1, PRODUCT, np.full((1, 2), 1e9))
