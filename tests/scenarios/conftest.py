"""Scenarios are read as their commands read them: with their own folder, and the one above, on the path."""

import sys
from pathlib import Path

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
sys.path[:0] = [str(SCENARIOS), str(SCENARIOS / "traffic")]
