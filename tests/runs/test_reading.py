"""`p2pfl.read_ledger`: what is on the disk, as data."""

import shutil
import sqlite3

import pytest

import p2pfl
from p2pfl.errors import ConfigError
from p2pfl.runs.books import read_ledger

DOCUMENT = {
    "model": {"name": "linear"},
    "pace": {"mode": "lockstep", "rounds": 3},
    "train": {"steps": 1},
    "ledger": {"genesis": "genesis.toml"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs") / "run"
    p2pfl.simulate(DOCUMENT, nodes=3).save(home)
    return home


def test_every_entry_of_every_feed(run):
    ledger = p2pfl.read_ledger(run)
    assert ledger.nodes == ["n0", "n1", "n2"]
    rows = ledger.feeds()
    assert {row["node"] for row in rows} == {"n0", "n1", "n2"}
    assert rows[0]["kind"] == "feed.open"
    assert all(row["says"] and row["id"] for row in rows)
    one = p2pfl.read_ledger(run, "n1").feeds()
    assert one == [row for row in rows if row["node"] == "n1"]
    assert len(ledger.frame()) == len(rows)
    assert ledger.problems() == []


def test_what_all_agree_on(run):
    ledger = p2pfl.read_ledger(str(run))
    with read_ledger(str(run)) as found:
        assert ledger.height == found.view.height > 0
    final = ledger.final()
    assert {row["id"] for row in final} <= {row["id"] for row in ledger.feeds()}
    assert [row["height"] for row in final] == sorted(row["height"] for row in final)
    assert all(credits > 0 for credits in ledger.balances().values())
    assert p2pfl.read_ledger(run).explain("n1")


def test_what_is_wrong_is_said(run, tmp_path):
    shutil.copy(run / "n0" / "node.db", tmp_path / "node.db")
    with sqlite3.connect(tmp_path / "node.db") as store:
        store.execute("drop trigger entry_no_update")
        store.execute("update entry set raw = zeroblob(length(raw)) where seq = 1")
    store.close()
    ledger = p2pfl.read_ledger(tmp_path / "node.db")
    assert ledger.problems()
    assert [row for row in ledger.feeds() if "damaged" in row]


def test_what_is_not_there_is_one_line(run, tmp_path):
    with pytest.raises(ConfigError, match=r"expected a run's folder with node\.db"):
        p2pfl.read_ledger(tmp_path / "nothing").feeds()
    with pytest.raises(ConfigError, match="no node 'n9'"):
        p2pfl.read_ledger(run, "n9").feeds()
    with pytest.raises(ConfigError, match="a running node shows what is final"):
        p2pfl.read_ledger("http://127.0.0.1:1").feeds()
