"""What /metrics tells: a format that Prometheus' own parser reads, families that are all documented, bounded labels."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from p2pfl import __version__
from p2pfl.core.party import Emit
from p2pfl.runs.pages import is_loopback, pages_of
from p2pfl.runs.readiness import Readiness
from p2pfl.runs.scrape import CODES_MAX, FAMILIES, Labels, Meter
from p2pfl.wire.envelope import VERSION

TOLD = {"round": 8, "rounds": 10, "peers": 1, "loss": 0.5, "bytes_sent": 100, "bytes_received": 50}


def meter(path: Path, private: bool = False) -> Meter:
    labels = Labels('an"na', "trial", "0.1.0", 2, private)
    return Meter(labels, path / "node.db", lambda: True, lambda: {("/v1/status", 200): 3, ("other", 404): 1})


def everything(made: Meter) -> None:
    """Every event that tells a figure."""
    made.take(Emit("resumed", {"round": 7}))
    made.take(Emit("round", TOLD), 2.0)
    made.take(Emit("round", {**TOLD, "round": 9}), 0.02)
    made.take(Emit("evaluation", {"split": "test", "loss": 0.25, "accuracy": 0.75}))
    fields = {"height": 4, "log": 77, "block": "00", "ledger_bytes_sent": 9, "ledger_bytes_received": 8}
    made.take(Emit("ledger.final", fields))
    made.take(Emit("privacy", {"epsilon_quick": 1.5}))
    made.take(Emit("view", {"view": 3, "alive": 5, "departed": 1}))
    made.take(Emit("refused", {"code": "recipe"}))


def samples(made: Meter) -> dict[tuple[str, tuple[str, ...]], float]:
    kind, text = made.page()
    assert kind.startswith("text/plain")
    found = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(s.labels.values())): s.value for family in found for s in family.samples}


def test_every_family_is_told_once_and_documented(tmp_path: Path) -> None:
    made = meter(tmp_path)
    everything(made)
    families = [f.name for f in text_string_to_metric_families(made.page()[1].decode())]
    ours = [name for name in families if name.startswith("p2pfl_")]
    documented = {name.removesuffix("_total") for name in FAMILIES}
    assert len(ours) == len(set(ours))
    assert {name.removesuffix("_total") for name in ours} == documented


def test_the_latest_figures_and_the_counts(tmp_path: Path) -> None:
    made = meter(tmp_path)
    everything(made)
    (tmp_path / "node.db").write_bytes(b"x" * 10)
    (tmp_path / "node.db-wal").write_bytes(b"x" * 5)
    found = samples(made)
    wanted: dict[tuple[str, tuple[str, ...]], float] = {
        ("p2pfl_node", ('an"na', "trial", "0.1.0")): 1,
        ("p2pfl_round", ()): 9,
        ("p2pfl_neighbours_reachable", ()): 1,
        ("p2pfl_members_alive", ()): 5,
        ("p2pfl_bytes_sent_total", ()): 100,
        ("p2pfl_ledger_height", ()): 4,
        ("p2pfl_ledger_log_size", ()): 77,
        ("p2pfl_evaluation_accuracy", ("test",)): 0.75,
        ("p2pfl_privacy_epsilon", ()): 1.5,
        ("p2pfl_events_total", ("round", "debug")): 2,
        ("p2pfl_refused_total", ("recipe",)): 1,
        ("p2pfl_requests_total", ("other", "404")): 1,
        ("p2pfl_round_seconds_bucket", ("0.03",)): 1,
        ("p2pfl_round_seconds_bucket", ("1.0",)): 1,
        ("p2pfl_round_seconds_bucket", ("3.0",)): 2,
        ("p2pfl_round_seconds_count", ()): 2,
        ("p2pfl_store_bytes", ()): 15,
    }
    assert {key: found[key] for key in wanted} == wanted
    assert math.isclose(found["p2pfl_round_seconds_sum", ()], 2.02)


def test_nothing_that_was_judged_on_private_data(tmp_path: Path) -> None:
    made = meter(tmp_path, private=True)
    everything(made)
    assert not [name for name, _ in samples(made) if "loss" in name or "accuracy" in name]


def test_labels_are_bounded_whatever_peers_say(tmp_path: Path) -> None:
    made = meter(tmp_path)
    for number in range(CODES_MAX + 50):
        made.take(Emit("refused_by", {"code": f"c{number}"}))
        made.take(Emit(f"event{number}", {}))
    found = samples(made)
    assert len([1 for name, _ in found if name == "p2pfl_refused_total"]) == CODES_MAX + 1
    assert found["p2pfl_refused_total", ("other",)] == 50
    assert len([1 for name, _ in found if name == "p2pfl_events_total"]) == 2


@pytest.mark.parametrize(
    ("readers", "caller", "status"),
    [
        ("local", "127.0.0.1", 200),
        ("local", "::1", 200),
        ("local", "::ffff:127.0.0.1", 200),
        ("local", "192.0.2.7", 403),
        ("local", "", 403),
        ("any", "192.0.2.7", 200),
    ],
)
def test_who_may_read_the_metrics(tmp_path: Path, readers: Any, caller: str, status: int) -> None:
    pages = pages_of(meter(tmp_path), Readiness(lambda: 0.0, True), readers)
    assert pages["/metrics"](caller)[0] == status
    assert is_loopback(caller) == (status == 200 and readers == "local")


def test_off_means_that_there_is_no_such_page(tmp_path: Path) -> None:
    assert list(pages_of(meter(tmp_path), Readiness(lambda: 0.0, True), "off")) == ["/readyz"]


def test_readyz_says_why_not(tmp_path: Path) -> None:
    ready = Readiness(lambda: 0.0, True)
    page = pages_of(meter(tmp_path), ready, "local")["/readyz"]
    status, _, text = page("192.0.2.7")
    told = json.loads(text)
    assert (told.pop("version"), told.pop("wire")) == (__version__, VERSION)
    assert (status, told) == (503, {"ready": False, "why": "starting: no round is over yet"})
    ready.take(Emit("round", TOLD))
    assert page("192.0.2.7")[0] == 200
