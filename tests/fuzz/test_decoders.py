"""Nothing from the network raises anything but Ignore and Reject, in any decoder; and no decoder is left out.

    pytest tests/fuzz                       a moment for each
    pytest tests/fuzz -m slow               a minute in all
    pytest tests/fuzz -m soak               an hour

A failure names a seed; `feed(Random(seed))` repeats it.
"""

import ast
import importlib.util
import re
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count, cycle
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import P2PFLError, RemoteError

PACKAGE = Path(__file__).resolve().parents[2] / "p2pfl"
DECODER = re.compile(r"_?(decode|parse|unpack)(_\w+|b|d)?|from_(fields|bytes)|open_(head|sheet)")


def _beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fuzz_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


table = _beside("decoders")
FED = {name: (feed, RemoteError) for name, feed in table.FUZZED.items()}
FED |= {name: (feed, P2PFLError) for name, feed in table.FILES.items()}


def decoders() -> Iterator[str]:
    """Every function of the package that is called like a decoder, as `module:Qualified.name`."""

    def inside(node: ast.AST, above: tuple[str, ...]) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                yield from inside(child, (*above, child.name))
            elif isinstance(child, ast.FunctionDef) and DECODER.fullmatch(child.name):
                yield ".".join((*above, child.name))

    for path in sorted(PACKAGE.rglob("*.py")):
        module = str(path.relative_to(PACKAGE).with_suffix("")).replace("/", ".")
        yield from (f"{module}:{name}" for name in inside(ast.parse(path.read_text("utf-8")), ()))


def test_no_decoder_is_left_out() -> None:
    known = {*FED, *table.THROUGH, *table.OURS}
    missing = sorted(set(decoders()) - known)
    assert not missing, f"enter them in tests/fuzz/decoders.py: {missing}"


def test_the_table_names_what_is_there() -> None:
    there = set(decoders()) | {"wire.envelope:split", "wire.certificate:key_of", "peer.door:refusal_words"}
    there |= {"peer.quarantine:verdict_on", "compress.dense:Half.decode"}
    gone = sorted({*FED, *table.THROUGH, *table.OURS} - there)
    assert not gone, f"remove them from tests/fuzz/decoders.py: {gone}"


def feed_once(name: str, seed: int) -> bool:
    """Whether it was taken."""
    feed, allowed = FED[name]
    try:
        feed(Random(seed))
    except allowed:
        return False
    except Exception as error:
        error.add_note(f"{name}, seed {seed}")
        raise
    return True


@pytest.mark.parametrize("name", sorted(FED))
@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None, database=None)
def test_whatever_comes_is_taken_or_refused(name: str, seed: int) -> None:
    feed_once(name, seed)


def feed_for(seconds: float, first: int) -> int:
    """All in turn, for so long: how many were fed."""
    end, fed = time.monotonic() + seconds, 0
    names: Callable[[], Iterator[str]] = lambda: cycle(sorted(FED))  # noqa: E731
    for seed, name in zip(count(first), names(), strict=False):
        if fed % 64 == 0 and time.monotonic() > end:
            break
        feed_once(name, seed)
        fed += 1
    return fed


@pytest.mark.slow
def test_a_minute_of_it() -> None:
    assert feed_for(30.0, 1 << 40) > 0


@pytest.mark.soak
def test_an_hour_of_it() -> None:
    assert feed_for(1800.0, 1 << 50) > 0
