"""Forecasts of traffic see nothing of what they forecast, and districts nothing of each other."""

from dataclasses import replace
from pathlib import Path

import cities
import numpy as np
import pytest
import task

CITY = cities.synthetic(districts=3, days=4)


def samples_of(monkeypatch: pytest.MonkeyPatch, city: cities.City, choosing: bool = False) -> task.Task:
    monkeypatch.setattr(task, "city", lambda name, folder, quick: city)
    task.task_of.cache_clear()
    found: task.Task = task.task_of("made up", None, False, choosing)
    task.task_of.cache_clear()
    return found


def test_the_future_is_not_in_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured from some time of the rest on changes only samples whose target is later than `ahead` after."""
    steps, sensors = CITY.series.shape
    since = int(steps * 0.9)
    other = CITY.series.copy()
    other[since:] += np.random.default_rng(0).normal(0, 5, other[since:].shape)
    one, two = (samples_of(monkeypatch, replace(CITY, series=s)) for s in (CITY.series, other))
    assert np.array_equal(one.train.x, two.train.x)
    assert np.array_equal(one.train.y, two.train.y)
    first = int(steps * task.TRAIN)
    known = (since + CITY.ahead - first) * sensors
    assert np.array_equal(one.test.x[:known], two.test.x[:known])
    assert not np.array_equal(one.test.x[known:], two.test.x[known:])


def test_a_district_sees_its_own_sensors_only(monkeypatch: pytest.MonkeyPatch) -> None:
    other = CITY.series.copy()
    other[:, CITY.district == 2] += np.random.default_rng(0).normal(0, 5, other[:, CITY.district == 2].shape)
    one, two = (samples_of(monkeypatch, replace(CITY, series=s)) for s in (CITY.series, other))
    for district in (0, 1):
        assert np.array_equal(one.train.of(district).x, two.train.of(district).x)
        assert np.array_equal(one.test.of(district).x, two.test.of(district).x)


def test_a_day_is_not_in_its_own_usual_day() -> None:
    z = np.random.default_rng(1).normal(size=(24 * 5, 2))
    other = z.copy()
    other[24:48] += 3
    one, two = (task.profile_of(values, 24 * 4, 24) for values in (z, other))
    assert np.allclose(one[24:48], two[24:48])
    assert not np.allclose(one[:24], two[:24])


def test_what_is_chosen_by_ends_where_the_forecasts_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, early = (samples_of(monkeypatch, CITY, choosing) for choosing in (False, True))
    assert len(early.city.series) == int(len(CITY.series) * task.TRAIN)
    assert len(early.train.y) + len(early.test.y) == len(whole.train.y)


def test_samples_are_put_back_into_the_citys_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    found = samples_of(monkeypatch, CITY).test
    first = int(len(CITY.series) * task.TRAIN)
    assert np.allclose(found.usual + found.spread * found.y, CITY.series[first:].reshape(-1), atol=1e-3)


def test_shares_are_the_districts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "city", lambda name, folder, quick: CITY)
    task.task_of.cache_clear()
    source = task.samples()
    shares = task.by_district(source.data, 3, np.random.default_rng(0))
    assert sum(map(len, shares)) == len(source.data)
    assert [set(source.data.groups[rows].tolist()) for rows in shares] == [{0}, {1}, {2}]
    task.task_of.cache_clear()


def test_a_city_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no file"):
        cities.city("hangzhou", tmp_path)
    with pytest.raises(SystemExit, match="expected --data DIR"):
        cities.city("hangzhou")
