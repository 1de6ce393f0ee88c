"""Taking one received field after another as what it must be. Knows types and bounds; knows no message."""

from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.errors import Reject

DIGEST_BYTES = 32
WHOLE_MAX = (1 << 63) - 1


def array(value: Any, name: str, length: int) -> list[Any]:
    """An array of exactly `length` items. Raises Reject."""
    if not isinstance(value, list) or len(value) != length:
        raise Reject("malformed", f"{name}: expected an array of {length}")
    return value


def items(value: Any, name: str, most: int) -> list[Any]:
    """An array of at most `most` items. Raises Reject."""
    if not isinstance(value, list) or len(value) > most:
        raise Reject("malformed", f"{name}: expected an array of at most {most}")
    return value


def whole(value: Any, name: str, most: int = WHOLE_MAX) -> int:
    """A whole number of 0 to `most`. Raises Reject."""
    if type(value) is not int or not 0 <= value <= most:
        raise Reject("malformed", f"{name}: expected a whole number of 0 to {most}")
    return value


def digest(value: Any, name: str) -> bytes:
    """32 bytes. Raises Reject."""
    return exactly(value, name, DIGEST_BYTES)


def exactly(value: Any, name: str, length: int) -> bytes:
    """So many bytes. Raises Reject."""
    if not isinstance(value, bytes) or len(value) != length:
        raise Reject("malformed", f"{name}: expected {length} bytes")
    return value


def blob(value: Any, name: str, most: int) -> bytes:
    """At most `most` bytes. Raises Reject."""
    if not isinstance(value, bytes) or len(value) > most:
        raise Reject("malformed", f"{name}: expected at most {most} bytes")
    return value


def node_id(value: Any, name: str) -> NodeId:
    """A key. Raises Reject."""
    return NodeId(exactly(value, name, 32))


def text(value: Any, name: str, most: int) -> str:
    """Printable ASCII of at most `most` characters. Raises Reject."""
    if not isinstance(value, str) or len(value) > most or not (value.isascii() and (value.isprintable() or not value)):
        raise Reject("malformed", f"{name}: expected printable ASCII of at most {most} characters")
    return value


def version(value: Any, name: str, expected: int) -> None:
    """Raises Reject of another version."""
    if type(value) is not int or value != expected:
        raise Reject("version", f"expected {name} version {expected}, got {str(value)[:20]}: made by another p2pfl")
