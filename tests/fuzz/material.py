"""What decoders are fed: noise, nonsense of the right kind, and golden bytes with something wrong in them."""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgpack

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
EDGES = (0, 1, -1, 2, 16, 31, 32, 33, 64, 127, 128, 255, 256, 65_535, 65_536, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, 1e300, float("inf"), float("-inf"), float("nan"))
DEPTH_MAX = 5
NO_MSGPACK = (ValueError, TypeError, msgpack.UnpackException, RecursionError)


@cache
def corpus() -> tuple[bytes, ...]:
    """All byte strings of the golden vectors, as hex or as text: what decoders accept, and what they must refuse."""
    found = {text for path in sorted(VECTORS.glob("*.json")) for text in _texts(json.loads(path.read_text("utf-8")))}
    return tuple(sorted(raw for text in found for raw in _bytes(text)))


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)


def _bytes(text: str) -> Iterator[bytes]:
    try:
        raw = bytes.fromhex(text.removeprefix("hex:"))
    except ValueError:
        raw = text.encode()
    if len(raw) >= 8:
        yield raw


def raw(random: Random, good: Sequence[bytes] = ()) -> bytes:
    """Bytes that somebody might send. `good`: what the decoder takes, of which most are made."""
    kind = random.randrange(10)
    if kind == 0:
        return random.randbytes(random.choice((0, 1, 4, 10, 32, 74, 300)))
    if kind == 1:
        return packed(value(random))
    known = random.choice(good if good and kind > 3 else corpus())
    return bent(random, known) if kind % 2 else wrong_inside(random, known)


def bent(random: Random, text: bytes) -> bytes:
    """A few bytes changed, lost, doubled or put in."""
    found = bytearray(text)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(found) + 1)
        match random.randrange(5):
            case 0 if at < len(found):
                found[at] ^= 1 << random.randrange(8)
            case 1:
                del found[at:]
            case 2:
                found[at:at] = random.randbytes(random.randint(1, 8))
            case 3:
                found[at:at] = found[at : at + random.randint(1, 40)]
            case 4:
                del found[at : at + random.randint(1, 8)]
    return bytes(found)


def wrong_inside(random: Random, text: bytes) -> bytes:
    """Sound msgpack with one value in it replaced, if it is msgpack, perhaps behind some other bytes."""
    for start in (0, 74, 1):
        try:
            inner = msgpack.unpackb(text[start:], strict_map_key=False)
        except NO_MSGPACK:
            continue
        return text[:start] + packed(swapped(random, inner))
    return bent(random, text)


def swapped(random: Random, inner: Any) -> Any:
    """The value with one of its parts, at any depth, made something else."""
    if isinstance(inner, list | tuple) and inner and random.random() < 0.9:
        parts = list(inner)
        at = random.randrange(len(parts))
        match random.randrange(8):
            case 0:
                del parts[at]
            case 1:
                parts.insert(at, parts[at])
            case 2:
                parts.append(value(random))
            case _:
                parts[at] = swapped(random, parts[at])
        return parts
    return near(random, inner)


def near(random: Random, inner: Any) -> Any:
    """Something of the same type more often than not: what checks of types alone let through."""
    kind = random.randrange(4)
    if kind == 0:
        return value(random)
    match inner:
        case bool():
            return not inner
        case int():
            return random.choice((*EDGES, inner + 1, inner - 1, -inner))
        case float():
            return random.choice(FLOATS)
        case bytes():
            return random.choice((b"", bent(random, inner), inner + b"\0", bytes(len(inner))))
        case str():
            return random.choice(("", inner + "x", "\0", "\U0001f980" * 40))
    return value(random)


def value(random: Random, depth: int = 0) -> Any:
    """Anything that canonical msgpack can say, and some that it cannot."""
    match random.randrange(9 if depth < DEPTH_MAX else 7):
        case 0:
            return random.choice((None, True, False))
        case 1 | 2:
            return random.choice(EDGES)
        case 3:
            return random.choice(FLOATS)
        case 4 | 5:
            return random.randbytes(random.choice((0, 1, 16, 31, 32, 33, 64)))
        case 6:
            return random.choice(("", "update", "accept", "open", "x" * 33, "\u0000"))
        case 7:
            return [value(random, depth + 1) for _ in range(random.choice((0, 1, 2, 3, 5, 6, 15)))]
    return {random.choice(("a", 1, b"b")): value(random, depth + 1) for _ in range(random.randrange(3))}


def fields(random: Random, good: Sequence[list[Any]] = ()) -> list[Any]:
    """What stands where a message's fields are."""
    kind = random.randrange(10)
    if kind == 0:
        return [value(random) for _ in range(random.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 15)))]
    found = swapped(random, random.choice(good if good and kind > 2 else lists()))
    return found if isinstance(found, list) else [found]


@cache
def lists() -> tuple[list[Any], ...]:
    """All arrays in the golden bytes that are msgpack, and their parts."""
    found = []
    for known in corpus():
        for start in (0, 74):
            try:
                inner = msgpack.unpackb(known[start:], strict_map_key=False)
            except NO_MSGPACK:
                continue
            found += [part for part in _lists(inner) if part]
    return tuple(found)


def _lists(inner: Any) -> Iterator[list[Any]]:
    if isinstance(inner, list):
        yield inner
        for part in inner:
            yield from _lists(part)


def packed(inner: Any) -> bytes:
    try:
        return bytes(msgpack.packb(inner))
    except (ValueError, OverflowError, TypeError):
        return b"\xc0"
