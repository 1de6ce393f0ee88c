"""One party's view of all Paillier keys of a job: whose key encrypts what, and with what draws. Knows keys; no value.

Keys are named by the number of the party that holds them. Everything random comes from the stream that `turn` was last
called with, so a task that is done again after a crash gives the same bytes.
"""

from collections.abc import Sequence
from concurrent.futures import Executor

from p2pfl.core.noise import Key
from p2pfl.crypto import paillier
from p2pfl.crypto.packing import Fixed
from p2pfl.crypto.paillier import Encryptor, HolderEncryptor, PublicEncryptor
from p2pfl.crypto.paillier_keys import PrivateKey, PublicKey, read_public
from p2pfl.crypto.paillier_layer import Product
from p2pfl.crypto.paillier_random import Stream
from p2pfl.errors import ConfigError, Reject


class Keyring:
    """`mine`: my number and private key, if I hold one. `exponent_bits`: as in `crypto.paillier`. `threads`, if given,
    share decryption."""

    def __init__(
        self,
        key_bits: int,
        mine: tuple[int, PrivateKey] | None,
        exponent_bits: int | None = None,
        threads: Executor | None = None,
    ) -> None:
        if mine is not None and mine[1].public.bits != key_bits:
            raise ConfigError(f"expected a key of {key_bits} bits, got {mine[1].public.bits}")
        self.key_bits, self._mine, self._bits, self.threads = key_bits, mine, exponent_bits, threads
        self._stream = Stream(bytes(32))
        self._public: dict[int, PublicKey] = {}
        self._encryptors: dict[int, Encryptor] = {}

    def turn(self, key: Key) -> None:
        """From now on draw from this."""
        self._stream = Stream(key)

    def own_key(self) -> bytes:
        """What the others need; empty if I hold no key."""
        return b"" if self._mine is None else self._mine[1].public.to_bytes()

    def check_key(self, raw: bytes) -> None:
        """Somebody's key, or nothing. Reject what is none."""
        if raw:
            self._read(raw)

    def learn_keys(self, keys: Sequence[bytes]) -> None:
        """All parties' keys, by number; empty for who holds none."""
        self._public = {party: self._read(raw) for party, raw in enumerate(keys) if raw}
        self._encryptors = {}

    def public(self, party: int) -> PublicKey:
        if party not in self._public:
            raise Reject("paillier-key", f"expected a public key from party {party}, got none")
        return self._public[party]

    def private(self) -> PrivateKey:
        """Reject if there is none: it is the asking party that should know."""
        if self._mine is None:
            raise Reject("turn-kind", "expected to be asked for what I can do: I hold no key")
        return self._mine[1]

    def by(self, party: int) -> Encryptor:
        """What encrypts under a party's key. Its table is made when it is first needed."""
        if party not in self._encryptors:
            public = self.public(party)
            if self._mine is not None and self._mine[0] == party:
                made: Encryptor = HolderEncryptor(self._mine[1], self._draw, self._bits)
            else:
                made = PublicEncryptor(public, self._draw, self._bits)
            self._encryptors[party] = made
        return self._encryptors[party]

    def open_masked(self, blob: bytes) -> bytes:
        """Ciphertexts under my key, for somebody else: what is in them, still masked. Reject what is none."""
        key = self.private()
        size = key.public.ciphertext_bytes
        found = paillier.decrypt(key, paillier.from_bytes(key.public, blob, len(blob) // size), self.threads)
        limit = 1 << (self.key_bits - 1)
        return b"".join(int(v % limit).to_bytes(self.key_bits // 8, "big") for v in found)

    def add(self, party: int, blobs: Sequence[bytes], num: int) -> bytes:
        """The sums of `num` ciphertexts of each blob. Reject what is no ciphertext. Not made fresh."""
        public = self.public(party)
        total = paillier.from_bytes(public, blobs[0], num)
        for blob in blobs[1:]:
            total = paillier.add(public, total, paillier.from_bytes(public, blob, num))
        return paillier.to_bytes(public, total)

    def seal(self, party: int, packed: Sequence[int]) -> bytes:
        return paillier.to_bytes(self.public(party), paillier.encrypt(self.by(party), packed))

    def _read(self, raw: bytes) -> PublicKey:
        if len(raw) * 8 != self.key_bits:
            raise Reject("paillier-key", f"expected a key of {self.key_bits} bits, got {len(raw) * 8}")
        return read_public(raw)

    def _draw(self, size: int) -> bytes:
        return self._stream(size)


def sums_fixed(product: Product) -> Fixed:
    """The fixed point of a product's sums, for what is added to them."""
    return Fixed(product.bits, 2.0 ** (product.sum_bits - 1 - product.bits))


def mask_of(product: Product, num: int, seed: Key) -> list[int]:
    """The packed mask of `num` sums: drawn again from its seed where it is taken off."""
    return product.slots.masks(num, product.sum_bits, Stream(seed))
