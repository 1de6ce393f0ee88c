"""docs/formats/codecs.md by example: tests/vectors/codecs.json decodes to the bit, and is refused where it says so."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from p2pfl.compress import CODECS, Codec, Packed
from p2pfl.core.noise import root
from p2pfl.errors import Reject

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "codecs.json").read_text())


def name(row: dict[str, Any]) -> str:
    return " ".join([row["codec"], *(f"{k}={v}" for k, v in row["params"].items()), row.get("why", "")])


def parts(row: dict[str, Any]) -> tuple[Codec, Packed]:
    return CODECS[row["codec"]](**row["params"]), Packed(tuple(row["fields"]), bytes.fromhex(row["body"]))


def floats(text: str) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(bytes.fromhex(text), "<f4").copy())


def hexed(q: torch.Tensor) -> str:
    return q.numpy().astype("<f4").tobytes().hex()


@pytest.mark.parametrize("row", VECTORS["valid"], ids=name)
def test_valid(row: dict[str, Any]) -> None:
    codec, packed = parts(row)
    v = floats(row["v"])
    assert hexed(codec.decode(packed, v.numel())) == row["q"]
    made, q = codec.encode(v, root(0), row["damp"])
    assert hexed(q) == row["q"]
    assert hexed(codec.project(v, root(0), row["damp"])) == row["q"]
    # The bytes of a zstd frame may change with its library; what a frame holds may not.
    assert made.fields == packed.fields
    assert hexed(codec.decode(made, v.numel())) == row["q"]
    if row["codec"] not in {"deadzone", "topk"}:
        assert bytes(made.body) == bytes(packed.body)


@pytest.mark.parametrize("row", VECTORS["refused"], ids=name)
def test_refused(row: dict[str, Any]) -> None:
    codec, packed = parts(row)
    with pytest.raises(Reject):
        codec.decode(packed, row["size"])
