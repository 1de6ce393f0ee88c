"""Codecs: a vector to few bytes and back. Knows vectors, not models or messages. The law of the room is in codec.py.

Formats: docs/formats/codecs.md.
"""

from p2pfl.compress.codec import Bounds, Codec, Packed
from p2pfl.compress.deadzone import DeadZone
from p2pfl.compress.dense import Dense, Half
from p2pfl.compress.int8 import Int8
from p2pfl.compress.topk import TopK

CODECS: dict[str, type[Codec]] = {
    "deadzone": DeadZone,
    "fp16": Half,
    "fp32": Dense,
    "int8": Int8,
    "topk": TopK,
}
"""The built-in codecs by the name a recipe gives them; their parameters are their fields."""

__all__ = ["CODECS", "Bounds", "Codec", "DeadZone", "Dense", "Half", "Int8", "Packed", "TopK"]
