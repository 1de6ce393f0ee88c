"""Does a codec keep the laws of p2pfl/compress/codec.py? Knows the protocol, no codec."""

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from p2pfl.compress import Codec, Packed
from p2pfl.core.noise import derive, root
from p2pfl.errors import Reject
from p2pfl.testing.expect import called, expect, expect_part, expect_vector, same_bits

SIZES = (1, 2, 33, 1000, 4097)
KEY = root(20)
ROUNDS = 40
LEFT_MAX = 0.99
FIELD_MAX = (1 << 64) - 1
ODD_FIELDS: tuple[int | float, ...] = (True, -1, 0.5, -0.0, float("nan"), float("inf"), -(1 << 63), FIELD_MAX, 1 << 40)


def check_codec(codec: Codec) -> None:
    """Raises AssertionError, in one sentence, for the first law that `codec` breaks."""
    expect_part(codec, ("bounds", "encode", "decode", "project"))
    for what, v in vectors():
        _check_ends(codec, v, what)
    _check_randomness(codec)
    _check_nodes(codec)
    _check_refuses_to_send(codec)
    for size in (33, 1000):
        _check_refuses_to_hear(codec, size)
    _check_contracts(codec)


def vectors() -> Iterator[tuple[str, Tensor]]:
    """Values a model may have, and values it should not have."""
    rng = np.random.default_rng(0)
    for size in SIZES:
        gauss = rng.standard_normal(size).astype(np.float32)
        shapes = {
            "gaussian values": gauss,
            "zeros": np.zeros(size, np.float32),
            "zeros of both signs": np.where(gauss > 0, 0.0, -0.0).astype(np.float32),
            "equal values": np.full(size, -1.3, np.float32),
            "few large values": gauss * (rng.random(size) < 0.02) * 1e4,
            "tiny values": gauss * 1e-30,
            "values below the normal range": gauss * 1e-42,
            "the largest values": np.where(gauss > 0, 3.4e38, -3.4e38),
            "values of all magnitudes": 10.0 ** rng.uniform(-38, 38, size) * np.sign(gauss),
        }
        for what, v in shapes.items():
            yield f"{size} {what}", torch.from_numpy(v.astype(np.float32))


def _check_ends(codec: Codec, v: Tensor, what: str) -> None:
    size, before = v.numel(), v.clone()
    bounds = codec.bounds(size)
    packed, q = called(f"encode of {what}", codec.encode, v, KEY)
    expect(same_bits(v, before), f"encode changed its argument ({what})")
    expect_vector(q, size, torch.float32, f"the q of {what}")
    expect(not bool((q.signbit() & (q == 0)).any()), f"the q of {what} has -0: zeros must be +0")
    count = len(packed.fields)
    expect(count == bounds.num_fields, f"bounds says {bounds.num_fields} fields, encode gave {count} ({what})")
    for field in packed.fields:
        number = type(field) is int and -(1 << 63) <= field <= FIELD_MAX
        number = number or (type(field) is float and np.isfinite(field))
        expect(number, f"a field must be a 64-bit int or a finite float, got {field!r} ({what})")
    length = len(bytes(packed.body))
    expect(length <= bounds.body_bytes, f"bounds says {bounds.body_bytes} bytes, encode gave {length} ({what})")
    heard = called(f"decode of {what}", codec.decode, over_the_wire(packed), size)
    expect_vector(heard, size, torch.float32, f"what decode gives for {what}")
    expect(same_bits(heard, q), f"decode does not give encode's q, bit for bit ({what})")
    projected = called(f"project of {what}", codec.project, v, KEY)
    expect(same_bits(projected, q), f"project does not give encode's q, bit for bit ({what})")
    expect(same_bits(v, before), f"decode or project changed encode's argument ({what})")


def over_the_wire(packed: Packed) -> Packed:
    """The same as a receiver gets it: read-only, and not where a float would like to be."""
    return Packed(packed.fields, memoryview(b"x" + bytes(packed.body))[1:])


def _check_randomness(codec: Codec) -> None:
    v, found = torch.randn(1000, generator=torch.Generator().manual_seed(1)), []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            packed, q = codec.encode(v, KEY, 0.5)
        found.append((packed.fields, bytes(packed.body), q))
    expect(found[0][:2] == found[1][:2], "encode gave two codes for one vector and key: draw from `key` alone")
    expect(same_bits(codec.project(v, KEY, 0.5), found[0][2]), "project does not give encode's q under damp = 0.5")


def _check_nodes(codec: Codec) -> None:
    def project(row: Tensor) -> Tensor:
        return codec.project(row, KEY)

    generator = torch.Generator().manual_seed(2)
    for size in (1, 33, 1000):
        rows = torch.randn(4, size, generator=generator) * torch.tensor([[1.0], [1e-3], [50.0], [0.0]])
        mapped = called("project under torch.func.vmap", torch.func.vmap(project), rows)
        for row, q in zip(rows, mapped, strict=True):
            alone = codec.encode(row, KEY)[1]
            expect(same_bits(q, alone), "project under torch.func.vmap does not give every node's q, bit for bit")


def _check_refuses_to_send(codec: Codec) -> None:
    for bad in (float("nan"), float("inf"), -float("inf")):
        for size, at in ((1, 0), (4097, 4096)):
            v = torch.ones(size)
            v[at] = bad
            try:
                codec.encode(v, KEY)
            except ValueError:
                continue
            except Exception as error:
                raise AssertionError(f"encode of {bad} raised {type(error).__name__}, not ValueError") from error
            raise AssertionError(f"encode took a vector with {bad}: it must raise ValueError, and nothing be sent")


def _check_refuses_to_hear(codec: Codec, size: int) -> None:
    v = torch.randn(size, generator=torch.Generator().manual_seed(size))
    packed, _ = codec.encode(v, KEY)
    bounds, body = codec.bounds(size), bytes(packed.body)
    fields = packed.fields
    _refused(codec, Packed((*fields, 0), body), size, "a field too many")
    if fields:
        _refused(codec, Packed(fields[:-1], body), size, "a field too few")
    _refused(codec, Packed(fields, body + bytes(bounds.body_bytes + 1 - len(body))), size, "more bytes than bounds")
    allowed = (1 << 20) + 64 * size + 8 * bounds.body_bytes
    tracemalloc.start()
    try:
        for what, wrong in _malformed(fields, body):
            _heard(codec, wrong, size, what)
            peak = tracemalloc.get_traced_memory()[1]
            expect(peak <= allowed, f"decode of {what} took {peak} bytes of memory for {size} values")
    finally:
        tracemalloc.stop()


def _malformed(fields: tuple[int | float, ...], body: bytes) -> Iterator[tuple[str, Packed]]:
    rng = np.random.default_rng(len(body))
    for place in range(len(fields)):
        for odd in ODD_FIELDS:
            changed = (*fields[:place], odd, *fields[place + 1 :])
            yield f"{odd!r} in field {place}", Packed(changed, body)
    for cut in range(0, len(body), max(1, len(body) // 50)):
        yield f"a body cut to {cut} of {len(body)} bytes", Packed(fields, body[:cut])
    for tail in (b"\0", b"\xff" * 9, body):
        yield "a body with a tail", Packed(fields, body + tail)
    for _ in range(100 if body else 0):
        wrong = bytearray(body)
        wrong[rng.integers(len(body))] ^= int(rng.integers(1, 256))
        yield "a body with one byte changed", Packed(fields, bytes(wrong))
    for length in (1, len(body), len(body)):
        yield "a random body", Packed(fields, rng.bytes(length))
    yield "a body of ff", Packed(fields, b"\xff" * len(body))


def _heard(codec: Codec, packed: Packed, size: int, what: str) -> bool:
    """Whether decode took it. What it takes must be a vector; what it raises must be Reject."""
    try:
        q = codec.decode(packed, size)
    except Reject:
        return False
    except Exception as error:
        raise AssertionError(f"decode of {what} raised {type(error).__name__}, not Reject: {error}") from error
    expect_vector(q, size, torch.float32, f"what decode gives for {what}")
    return True


def _refused(codec: Codec, packed: Packed, size: int, what: str) -> None:
    expect(not _heard(codec, packed, size, what), f"decode took {what}: it must raise Reject")


def _check_contracts(codec: Codec) -> None:
    """What remains is said next time (in a reference, or by error feedback): that must come to an end."""
    generator = torch.Generator().manual_seed(3)
    starts: dict[str, Callable[[], Tensor]] = {
        "gaussian values": lambda: torch.randn(200, generator=generator),
        "equal values": lambda: torch.full((200,), 0.7),
    }
    for what, make in starts.items():
        v = rest = make()
        for index in range(ROUNDS):
            rest = rest - codec.encode(rest, derive(KEY, index))[1]
        left = float(torch.linalg.vector_norm(rest.double()) / torch.linalg.vector_norm(v.double()))
        expect(
            left <= LEFT_MAX,
            f"saying what remains of {what} again and again does not come to an end: after {ROUNDS} messages "
            f"{left:.3g} of it is left",
        )
