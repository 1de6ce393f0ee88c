"""What the log was at one size, in a text that others can sign: origin, size, root. Knows texts; knows no leaf.

    p2pfl/<network id, hex>
    <size>
    <root, base64>

    — p2pfl/<validator, hex> <base64 of key hash (4), time (8), Ed25519 signature (64)>

The form is C2SP's tlog-checkpoint, the signatures its tlog-cosignature v1, so that witnesses which know neither this
program nor its blocks can sign too; lines of keys that we do not know are kept and not counted. A validator cosigns
only a finalized size: f + 1 of them contain an honest one, and that proves finality to somebody who has the genesis
file alone. Differs from C2SP in: a validator cosigns with its node key (the first line, `cosignature/v1`, keeps this
signature from being any other), and `time` is that of the finalized header. Page: docs/formats/checkpoint.md.
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Buffer
from p2pfl.errors import Reject
from p2pfl.ledger.blocks.merkle import HASH_BYTES
from p2pfl.wire.envelope import SIGNATURE_BYTES, Signs
from p2pfl.wire.keyfile import verify

CHECKPOINT_BYTES_MAX = 1 << 17
SIGNATURES_MAX = 512
SIZE_MAX = (1 << 63) - 1
_PREFIX = "p2pfl/"
_COSIGNATURE = 0x04
"""C2SP's signature type of a timestamped Ed25519 cosignature."""
_DASH = "— "


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tree of `size` leaves of the network `net` has this root."""

    net: bytes
    size: int
    root: bytes

    @property
    def text(self) -> bytes:
        """What is signed: three lines."""
        return f"{_PREFIX}{self.net.hex()}\n{self.size}\n{b64encode(self.root).decode()}\n".encode()


@dataclass(frozen=True, slots=True)
class Cosignature:
    """One validator's, made at `time_s` (seconds since 1970)."""

    validator: NodeId
    time_s: int
    signature: bytes

    @property
    def line(self) -> bytes:
        packed = _key_hash(self.validator) + self.time_s.to_bytes(8, "big") + self.signature
        return f"{_DASH}{_PREFIX}{self.validator.hex()} {b64encode(packed).decode()}\n".encode()

    def is_good(self, checkpoint: Checkpoint) -> bool:
        """Whether the validator signed this checkpoint."""
        return verify(self.validator, _signed(checkpoint, self.time_s), self.signature)


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint, and who signed it. `foreign` are lines of other kinds of keys, as they came."""

    checkpoint: Checkpoint
    cosignatures: tuple[Cosignature, ...] = ()
    foreign: tuple[bytes, ...] = ()

    @property
    def note(self) -> bytes:
        """The whole text: what a file holds."""
        return b"".join([self.checkpoint.text, b"\n", *(c.line for c in self.cosignatures), *self.foreign])

    def signers(self, validators: Collection[bytes]) -> set[NodeId]:
        """Those of `validators` whose signature is good."""
        asked = (c for c in self.cosignatures if c.validator in validators)
        return {c.validator for c in asked if c.is_good(self.checkpoint)}

    def merged(self, other: "Signed") -> "Signed":
        """With the signatures of another copy of the same checkpoint, one for each validator: the earlier one."""
        assert self.checkpoint == other.checkpoint
        by_validator: dict[NodeId, Cosignature] = {}
        for c in sorted((*self.cosignatures, *other.cosignatures), key=lambda c: (c.validator, c.time_s)):
            by_validator.setdefault(c.validator, c)
        foreign = dict.fromkeys([*self.foreign, *other.foreign])
        return Signed(self.checkpoint, tuple(by_validator.values()), tuple(foreign))


def cosign(signer: Signs, checkpoint: Checkpoint, time_ms: int) -> Cosignature:
    """Our signature. Only for a finalized size, and never for two roots of one size: the caller's promise."""
    time_s = time_ms // 1000
    return Cosignature(signer.node, time_s, signer.sign(_signed(checkpoint, time_s)))


def cosignatures_needed(num_validators: int) -> int:
    """f + 1 = floor((n - 1) / 3) + 1: at least one of them is honest."""
    return (num_validators - 1) // 3 + 1


def parse_checkpoint(note: Buffer) -> Signed:
    """Raises Reject for what is not a checkpoint of a p2pfl network; does not check signatures."""
    if len(note) > CHECKPOINT_BYTES_MAX:
        raise Reject("too-long", f"expected a checkpoint of at most {CHECKPOINT_BYTES_MAX} bytes, got {len(note)}")
    try:
        head, lines = bytes(note).decode("utf-8").split("\n\n", 1)
        origin, size_text, root_text = head.split("\n")
    except (UnicodeDecodeError, ValueError):
        raise Reject("malformed", "a checkpoint is three lines, an empty one, and signatures") from None
    checkpoint = Checkpoint(_network(origin), _size(size_text), _bytes(root_text, HASH_BYTES, "root"))
    if lines and not lines.endswith("\n"):
        raise Reject("malformed", "a checkpoint ends with the end of a line")
    parts = lines.split("\n")[:-1]
    if len(parts) > SIGNATURES_MAX:
        raise Reject("malformed", f"expected at most {SIGNATURES_MAX} signatures, got {len(parts)}")
    ours, foreign = [], []
    for line in parts:
        cosignature = _cosignature(line)
        if cosignature is None:
            foreign.append(f"{line}\n".encode())
        else:
            ours.append(cosignature)
    return Signed(checkpoint, tuple(ours), tuple(foreign))


def _network(origin: str) -> bytes:
    hex_ = origin.removeprefix(_PREFIX)
    if not origin.startswith(_PREFIX) or len(hex_) != 64 or not set(hex_) <= set("0123456789abcdef"):
        raise Reject("malformed", f"expected an origin {_PREFIX}<64 hex digits>, got {origin[:80]!r}")
    return bytes.fromhex(hex_)


def _size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19 or str(int(text)) != text or int(text) > SIZE_MAX:
        raise Reject("malformed", f"expected a size of 0 to 2^63 - 1, got {text[:40]!r}")
    return int(text)


def _bytes(text: str, length: int, name: str) -> bytes:
    try:
        raw = b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, Base64Error, ValueError):
        raw = b""
    if len(raw) != length or b64encode(raw).decode() != text:
        raise Reject("malformed", f"{name}: expected {length} bytes in base64")
    return raw


def _cosignature(line: str) -> Cosignature | None:
    """The cosignature of a node; None for another kind of line. Raises Reject for a line that is no signature."""
    name, _, packed = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not name or not packed:
        raise Reject("malformed", f"expected a signature line `{_DASH}name base64`, got {line[:40]!r}")
    node = name.removeprefix(_PREFIX)
    if not name.startswith(_PREFIX) or len(node) != 64 or not set(node) <= set("0123456789abcdef"):
        return None
    validator = NodeId(bytes.fromhex(node))
    raw = _bytes(packed, 4 + 8 + SIGNATURE_BYTES, "cosignature")
    if raw[:4] != _key_hash(validator):
        return None  # another algorithm under the same name
    return Cosignature(validator, int.from_bytes(raw[4:12], "big"), raw[12:])


def _key_hash(validator: bytes) -> bytes:
    return sha256(f"{_PREFIX}{validator.hex()}\n".encode() + bytes([_COSIGNATURE]) + validator).digest()[:4]


def _signed(checkpoint: Checkpoint, time_s: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % time_s + checkpoint.text
