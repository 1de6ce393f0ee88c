"""What a whole network's run came to: means, worst, ratios, and whether both ends of every edge agree."""

from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.runs.baselines import Baselines
from p2pfl.runs.network import network_summary, references_agree, summarise
from p2pfl.runs.outcome import Outcome

IDS = {"a": "aa", "b": "bb", "c": "cc"}


def row(name, accuracy=0.5, edges=(), **more):
    plain = {"name": name, "round": 9, "rounds": 9, "accuracy": accuracy, "bytes_sent": 100, "seconds": 3.0}
    plain |= {"bytes_full_precision": 1000, "edges": list(edges), "failure": None}
    return plain | more


def edge(peer, seq=3, digest="d", epoch=0):
    return {"peer": peer, "epoch": epoch, "seq": seq, "digest": digest}


def test_means_and_ratios():
    compared = Baselines(0.9, (0.2, 0.4), 0.1, (1.0, 1.0))
    summary = summarise([row("a", 0.8), row("b", 0.6, bytes_sent=300)], compared, True, True, {})
    assert (summary["accuracy_mean"], summary["accuracy_min"]) == (0.7, 0.6)
    assert (summary["accuracy_centralised"], round(summary["accuracy_alone_mean"], 6)) == (0.9, 0.3)
    assert (summary["bytes_sent_per_node"], summary["bytes_ratio_full_precision"]) == (200, 5.0)
    assert (summary["rounds"], summary["nodes"], summary["seconds_per_round"]) == (9, 2, 0.33333)
    assert summary["failures"] == {}


def test_a_network_of_nobody_and_one_that_sent_nothing():
    assert summarise([], None, True, True, {})["accuracy_mean"] is None
    assert summarise([row("a", bytes_sent=0)], None, True, True, {})["bytes_ratio_full_precision"] is None


def test_regression_and_failures():
    summary = summarise([row("a", None), row("b", None, failure="disk full")], None, True, False, {})
    assert summary["accuracy_mean"] is None
    assert summary["failures"] == {"b": "disk full"}
    assert not summary["feeds_verified"]


def test_both_ends_agree_or_not():
    assert references_agree([row("a", edges=[edge("bb")]), row("b", edges=[edge("aa")])], IDS)
    for other in (edge("aa", seq=4), edge("aa", digest="e"), edge("aa", epoch=1)):
        assert not references_agree([row("a", edges=[edge("bb")]), row("b", edges=[other])], IDS)


def test_one_edges_difference_is_not_hidden_by_the_others():
    rows = [
        row("a", edges=[edge("bb"), edge("cc", digest="x")]),
        row("b", edges=[edge("aa"), edge("cc")]),
        row("c", edges=[edge("aa", digest="y"), edge("bb")]),
    ]
    assert not references_agree(rows, IDS)


def test_an_empty_store_is_sound():
    summary = network_summary([Outcome("a", 5)], None, IDS, [MemoryStore()])
    assert summary["feeds_verified"]
