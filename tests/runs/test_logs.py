"""The log for machines: one whole JSON object a line, from a level on, with what libraries say."""

import io
import json
import logging
import warnings

import pytest

from p2pfl.core.party import Emit
from p2pfl.runs.events import EVENTS, LEVELS, is_at_least, level_of
from p2pfl.runs.logs import LINE_CHARS_MAX, JsonLog


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_each_event_is_a_line_with_its_level_and_fields() -> None:
    stream = io.StringIO()
    JsonLog(stream, "anna", "info").take(Emit("late", {"peer": "3fa9", "round": 7}))
    (line,) = lines(stream)
    assert str(line.pop("time")).endswith("Z")
    assert line == {"level": "warning", "node": "anna", "event": "late", "peer": "3fa9", "round": 7}


@pytest.mark.parametrize("threshold", LEVELS)
def test_only_what_is_as_grave_as_the_threshold(threshold: str) -> None:
    stream = io.StringIO()
    log = JsonLog(stream, "anna", threshold)  # type: ignore[arg-type]
    for name in EVENTS:
        log.take(Emit(name, {}))
    wanted = [name for name in EVENTS if is_at_least(level_of(name), threshold)]  # type: ignore[arg-type]
    assert [line["event"] for line in lines(stream)] == wanted


def test_a_field_never_hides_what_every_line_has_and_never_breaks_it() -> None:
    stream = io.StringIO()
    JsonLog(stream, "anna", "debug").take(Emit("late", {"node": "other\nline", "event": "x", "trace": "é" * 100_000}))
    (line,) = lines(stream)
    assert (line["node"], line["event"], line["node_"], line["event_"]) == ("anna", "late", "other\nline", "x")
    assert len(str(line["trace"])) == LINE_CHARS_MAX


def test_what_libraries_say_comes_along_and_stops_with_the_log() -> None:
    stream = io.StringIO()
    log = JsonLog(stream, "anna", "info")
    with log.of_libraries():
        logging.getLogger("asyncio").warning("slow %s", "callback")
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn("old", stacklevel=1)
    logging.getLogger("asyncio").debug("quiet")
    first, second = lines(stream)
    assert (first["event"], first["from"], first["says"]) == ("log", "asyncio", "slow callback")
    assert second["from"] == "py.warnings"


def test_a_reader_that_went_away_does_not_end_the_node() -> None:
    stream = io.StringIO()
    log = JsonLog(stream, "anna", "debug")
    stream.close()
    log.take(Emit("round", {}))
