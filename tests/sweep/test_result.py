"""A cell's file: whole or not there; and what is gathered from many of them."""

from math import isnan, nan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.errors import ConfigError, HostError
from p2pfl.runs.curves import Point
from p2pfl.sweep.folder import SweepFolder
from p2pfl.sweep.result import Result, read_result, write_result
from p2pfl.sweep.stats import Spread


def result(*accuracies: float, id_: str = "a") -> Result:
    points = tuple(Point(float(i), 0.0, 10.0 * i, a, a, 1.0, 0.5) for i, a in enumerate(accuracies, 1))
    return Result(id_, points, None, 1.5, 16, 32, 650)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    wanted = result(0.1, 0.2)
    write_result(tmp_path / "a.json", wanted)
    assert read_result(tmp_path / "a.json") == wanted
    write_result(tmp_path / "a.json", result(nan))
    found = read_result(tmp_path / "a.json")
    assert found is not None
    assert isnan(found.points[0].accuracy)
    assert "NaN" not in (tmp_path / "a.json").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@given(st.data())
def test_what_is_no_result_is_none(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("r") / "a.json"
    write_result(path, result(0.1, 0.2))
    raw = path.read_bytes()
    cut = data.draw(st.integers(0, len(raw) - 1))
    path.write_bytes(raw[:cut] + data.draw(st.binary(max_size=3)))
    found = read_result(path)
    assert found is None or found == result(0.1, 0.2)


def test_of_another_cell_or_version(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    write_result(path, result(0.1, id_="a"))
    assert read_result(path) is None
    write_result(path, result(0.1, id_="b"))
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    assert read_result(path) is None


def test_a_folder_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    SweepFolder.open(tmp_path / "new", resume=False)
    with pytest.raises(ConfigError, match="holds a sweep already: go on with --resume"):
        SweepFolder.open(tmp_path / "new", resume=False)
    (tmp_path / "new" / "cells" / "x.json.1.part").write_text("{")
    folder = SweepFolder.open(tmp_path / "new", resume=True)
    assert list((folder / "cells").iterdir()) == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="is not empty"):
        SweepFolder.open(tmp_path / "other", resume=False)
    with pytest.raises(HostError, match="cannot write"):
        write_result(tmp_path / "nowhere" / "a.json", result(0.1))


def test_spreads() -> None:
    assert Spread.of([1.0, 3.0]) == Spread(2.0, 2**0.5, 2)
    assert Spread.of([2.0, nan]) == Spread(2.0, 0.0, 1)
    assert Spread.of([]).count == 0
