"""How a check says no: an AssertionError of one sentence, also under `python -O`. Knows no part."""

from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor


def expect(holds: object, sentence: str) -> None:
    """Raises AssertionError with `sentence` unless `holds`."""
    if not holds:
        raise AssertionError(sentence)


def expect_part(part: Any, names: tuple[str, ...]) -> None:
    """A frozen dataclass with these attributes: its fields are its parameters, and both ends compare them."""
    kind = type(part).__name__
    frozen = is_dataclass(part) and getattr(type(part), "__dataclass_params__").frozen  # noqa: B009  -- untyped
    expect(frozen and not isinstance(part, type), f"expected an instance of a frozen dataclass, got {kind}")
    for name in names:
        expect(hasattr(part, name), f"expected {kind} to have {name!r}")


def called(what: str, function: Callable[..., Any], *args: Any) -> Any:
    """function(*args); what it raises becomes a sentence."""
    try:
        return function(*args)
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__}: {error}") from error


def expect_vector(value: object, size: int, dtype: torch.dtype, what: str) -> None:
    """A finite tensor (size,) of that dtype."""
    expect(isinstance(value, Tensor), f"expected {what} to be a tensor, got {type(value).__name__}")
    assert isinstance(value, Tensor)
    shape, wanted = f"{tuple(value.shape)} {value.dtype}", f"({size},) {dtype}"
    expect(value.shape == (size,) and value.dtype == dtype, f"expected {what} to be {wanted}, got {shape}")
    expect(bool(value.isfinite().all()), f"expected {what} to be finite")


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal to the bit: 0 and -0 differ."""
    whole = {torch.float32: torch.int32, torch.float64: torch.int64}.get(a.dtype)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if whole is None:
        return torch.equal(a, b)
    return torch.equal(a.contiguous().view(whole), b.contiguous().view(whole))


def near(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Whether a and b differ by at most `tolerance` of the larger of them (or of 1)."""
    scale = max(1.0, float(a.abs().max()), float(b.abs().max())) if a.numel() else 1.0
    return bool(torch.allclose(a.double(), b.double(), rtol=0.0, atol=tolerance * scale))
