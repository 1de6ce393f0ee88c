"""Codecs: a vector to few bytes and back. Knows vectors, not models or messages. The law of the room is in codec.py.

Formats: docs/formats/codecs.md.
"""

from p2pfl.compress.codec import Bounds, Codec, Packed
from p2pfl.compress.deadzone import DeadZone
from p2pfl.compress.dense import Dense, Half
from p2pfl.compress.feedback import Fed, Feedback
from p2pfl.compress.int4 import Int4
from p2pfl.compress.int8 import Int8
from p2pfl.compress.lowrank import LowRank
from p2pfl.compress.randomk import RandomK
from p2pfl.compress.sign import Sign
from p2pfl.compress.topk import TopK

CODECS: dict[str, type[Codec]] = {
    "deadzone": DeadZone,
    "fp16": Half,
    "fp32": Dense,
    "int4": Int4,
    "int8": Int8,
    "lowrank": LowRank,
    "randomk": RandomK,
    "sign": Sign,
    "topk": TopK,
}
"""The built-in codecs by the name a recipe gives them; their parameters are their fields."""

__all__ = [
    "CODECS",
    "Bounds",
    "Codec",
    "DeadZone",
    "Dense",
    "Fed",
    "Feedback",
    "Half",
    "Int4",
    "Int8",
    "LowRank",
    "Packed",
    "RandomK",
    "Sign",
    "TopK",
]
