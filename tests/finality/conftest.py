"""Whole replicas in a seeded world. Signatures are real, and each is verified once for all nodes of a run."""

import sys
from functools import lru_cache
from pathlib import Path

import pytest

if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

from p2pfl.wire import keyfile

_verify = lru_cache(1 << 16)(keyfile.verify)


@pytest.fixture(autouse=True)
def _verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("blocks.votes", "feeds.entry"):
        monkeypatch.setattr(f"p2pfl.ledger.{module}.verify", _verify)
