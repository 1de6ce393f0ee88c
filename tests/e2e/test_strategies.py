"""Nodes that behave in different ways as processes of their own, over HTTP, and what their ledger says of them."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_a_copycat_and_a_free_rider_earn_less_than_each_who_works() -> None:
    """The ledger says why each got what it got, and valuing takes no more than its tenth of the bytes."""
    command = (sys.executable, "-m", "p2pfl", "demo", "--strategies", "honest*6,copycat,freerider")
    said = subprocess.run((*command, "--quiet", "--json"), capture_output=True, text=True, timeout=540, check=False)
    assert said.returncode == 0, said.stderr
    summary = json.loads(said.stdout)
    rows = summary["earned"]
    honest = [row["credits"] for row in rows if row["strategy"] == "honest"]
    others = {row["strategy"]: row for row in rows if row["strategy"] != "honest"}
    assert len(honest) == 6
    for row in others.values():
        assert row["credits"] < min(honest), rows
        assert any("score" in line for line in row["why"]), row["why"]
    assert any("did not have to hold back" in line for line in others["copycat"]["why"]), others["copycat"]["why"]
    assert 0 < summary["valuing"]["bytes"] <= 0.1
    assert summary["ledger_agrees"] is not False
