"""Twenty nodes for twenty minutes (`scripts/test --all`): nothing grows that should not, and the log has no riddles."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench" / "soak.py"
MINUTES = 20.0
NODES = 20


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_soak", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_soak"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="memory and open files are told on Linux only")
def test_nothing_grows_that_should_not(bench: ModuleType, tmp_path: Path) -> None:
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    if gigabytes < NODES * 0.5:
        pytest.skip(f"{NODES} processes need {NODES * 0.5:g} GB, this machine has {gigabytes:.0f}")
    found = bench.soak(tmp_path / "trial", NODES, MINUTES * 60, every_s=5.0)
    for name in bench.FIGURES:
        print(name, [round(found.middle(name, quarter), 2) for quarter in range(4)])
    print("bytes per round", [round(found.bytes_per_round(quarter)) for quarter in range(4)])
    print("logged", dict(found.logged))
    assert bench.bars(found)


def test_a_figure_that_grows_is_seen(bench: ModuleType) -> None:
    """The judge itself, on figures that are made up."""
    found = bench.Soak(moments=[float(t) for t in range(40)])
    for name in found.rows:
        found.rows[name] = [[10.0 + t, 20.0 + t] if name != "tasks" else [5.0, 5.0] for t in range(40)]
    assert found.ratio("tasks") == 1.0
    assert found.ratio("resident MiB") > 1.5
    assert found.bytes_per_round(1) == found.bytes_per_round(3) == 1 << 20
    found.logged["late", "warning"] += 3
    assert found.unexplained() == []
    found.logged["log", "warning"] += 1
    found.logged["riddle", "error"] += 1
    assert found.unexplained() == ["log", "riddle"]
    assert not bench.bars(found)
