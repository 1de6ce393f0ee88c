"""`check_codec` passes every built-in codec, and says what is wrong with one that breaks a law."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from p2pfl.compress import CODECS, Bounds, Codec, DeadZone, Int8, Packed, TopK
from p2pfl.errors import Reject
from p2pfl.testing import check_codec

TUNED = [DeadZone(0.02), Int8(16), TopK(1e-4, "int4")]


@pytest.mark.parametrize("codec", [*(kind() for kind in CODECS.values()), *TUNED], ids=str)
def test_built_ins_pass(codec: Codec) -> None:
    check_codec(codec)


@dataclass(frozen=True)
class Good:
    """float32 as it is; the toys below each break one thing."""

    def bounds(self, size: int) -> Bounds:
        return Bounds(0, 4 * size)

    def encode(self, v: torch.Tensor, key: Any, damp: float = 1.0) -> tuple[Packed, torch.Tensor]:
        if not bool(v.isfinite().all()):
            raise ValueError("expected finite values")
        q = self.project(v, key)
        return Packed((), q.numpy().tobytes()), q

    def decode(self, packed: Packed, size: int) -> torch.Tensor:
        if packed.fields or len(packed.body) != 4 * size:
            raise Reject("codec", "a wrong length")
        q = torch.from_numpy(np.frombuffer(packed.body, np.float32).copy())
        if not bool(q.isfinite().all()):
            raise Reject("codec", "not finite")
        return q

    def project(self, v: torch.Tensor, key: Any, damp: float = 1.0) -> torch.Tensor:
        return v + 0.0


@dataclass
class Thawed:
    """Its parameters may change under way."""

    bounds = Good.bounds
    encode = Good.encode
    decode = Good.decode
    project = Good.project


@dataclass(frozen=True)
class Tight(Good):
    def bounds(self, size: int) -> Bounds:
        return Bounds(0, 4 * size - 1)


@dataclass(frozen=True)
class Negative(Good):
    def project(self, v: torch.Tensor, key: Any, damp: float = 1.0) -> torch.Tensor:
        return v


@dataclass(frozen=True)
class Approximate(Good):
    def decode(self, packed: Packed, size: int) -> torch.Tensor:
        return super().decode(packed, size) * 1.0000001


@dataclass(frozen=True)
class Elsewhere(Good):
    """Its projection is another rule."""

    def encode(self, v: torch.Tensor, key: Any, damp: float = 1.0) -> tuple[Packed, torch.Tensor]:
        return super().encode(v.half().float().clamp(-6e4, 6e4), key)


@dataclass(frozen=True)
class OwnDice(Good):
    def encode(self, v: torch.Tensor, key: Any, damp: float = 1.0) -> tuple[Packed, torch.Tensor]:
        if not bool(v.isfinite().all()):
            raise ValueError("expected finite values")
        q = self.project(v, key) * (torch.rand(()) < 0.5 if len(v) == 1000 and damp < 1 else 1.0)
        return Packed((), (q + 0.0).numpy().tobytes()), q + 0.0


@dataclass(frozen=True)
class ByValue(Good):
    """Its shapes depend on values, which no node axis can have."""

    def project(self, v: torch.Tensor, key: Any, damp: float = 1.0) -> torch.Tensor:
        q = torch.zeros_like(v)
        at = v.nonzero()[:, 0]
        q[at] = v[at]
        return q


@dataclass(frozen=True)
class Overwriting(Good):
    def encode(self, v: torch.Tensor, key: Any, damp: float = 1.0) -> tuple[Packed, torch.Tensor]:
        packed, q = super().encode(v, key)
        v.zero_()
        return packed, q


@dataclass(frozen=True)
class Unworried(Good):
    def encode(self, v: torch.Tensor, key: Any, damp: float = 1.0) -> tuple[Packed, torch.Tensor]:
        q = self.project(v, key)
        return Packed((), q.numpy().tobytes()), q


@dataclass(frozen=True)
class Credulous(Good):
    def decode(self, packed: Packed, size: int) -> torch.Tensor:
        return torch.from_numpy(np.frombuffer(packed.body, np.float32).copy())


@dataclass(frozen=True)
class Blind(Good):
    """Takes whatever number is in the body."""

    def decode(self, packed: Packed, size: int) -> torch.Tensor:
        if packed.fields or len(packed.body) != 4 * size:
            raise Reject("codec", "a wrong length")
        return torch.from_numpy(np.frombuffer(packed.body, np.float32).copy())


@dataclass(frozen=True)
class Hungry(Good):
    """Allocates what a stranger asks for, then looks."""

    def bounds(self, size: int) -> Bounds:
        return Bounds(1, 4 * size)

    def encode(self, v: torch.Tensor, key: Any, damp: float = 1.0) -> tuple[Packed, torch.Tensor]:
        packed, q = super().encode(v, key)
        return Packed((len(v),), packed.body), q

    def decode(self, packed: Packed, size: int) -> torch.Tensor:
        if len(packed.fields) != 1 or type(packed.fields[0]) is not int:
            raise Reject("codec", "a wrong field")
        room = np.zeros(min(max(packed.fields[0], 0), 1 << 24), np.float32)
        if room.size != size:
            raise Reject("codec", "another size")
        return super().decode(Packed((), packed.body), size)


@dataclass(frozen=True)
class TooLoud(Good):
    """Unbiased and much too large: as random-k scaled by n / k is."""

    def project(self, v: torch.Tensor, key: Any, damp: float = 1.0) -> torch.Tensor:
        return v.clamp(-1e30, 1e30) * 3.0 + 0.0


@dataclass(frozen=True)
class Mute(Good):
    def project(self, v: torch.Tensor, key: Any, damp: float = 1.0) -> torch.Tensor:
        return torch.zeros_like(v)


@dataclass(frozen=True)
class LongNumber(Good):
    def bounds(self, size: int) -> Bounds:
        return Bounds(1, 4 * size)

    def encode(self, v: torch.Tensor, key: Any, damp: float = 1.0) -> tuple[Packed, torch.Tensor]:
        packed, q = super().encode(v, key)
        return Packed((1 << 70,), packed.body), q


def test_the_toy_is_good_but_for_what_it_breaks() -> None:
    check_codec(Good())


@pytest.mark.parametrize(
    ("codec", "sentence"),
    [
        (Thawed(), "frozen dataclass"),
        (object(), "frozen dataclass"),
        (Tight(), "bounds says 3 bytes, encode gave 4"),
        (Negative(), "zeros must be .0"),
        (Approximate(), "decode does not give encode's q"),
        (Elsewhere(), "project does not give encode's q"),
        (OwnDice(), "draw from `key` alone|under damp"),
        (ByValue(), "vmap"),
        (Overwriting(), "changed its argument"),
        (Unworried(), "must raise ValueError"),
        (Credulous(), "must raise Reject|not Reject|expected what decode gives"),
        (Blind(), "to be finite"),
        (Hungry(), "bytes of memory"),
        (TooLoud(), "does not come to an end"),
        (Mute(), "does not come to an end"),
        (LongNumber(), "64-bit int"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_broken_law_is_said_in_one_sentence(codec: Any, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence) as caught:
        check_codec(codec)
    assert "\n" not in str(caught.value)
