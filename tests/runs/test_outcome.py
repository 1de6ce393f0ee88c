"""What a node's run came to, from what it emitted."""

import pytest

from p2pfl.core.party import Emit
from p2pfl.runs.outcome import Outcome

TRAFFIC = {"bytes_sent": 1000, "bytes_received": 900, "bodies_sent": 3, "body_bytes_sent": 700}


def told(*emits):
    outcome = Outcome("anna", num_params=50)
    for seconds, name, fields in emits:
        outcome.take(seconds, Emit(name, fields))
    return outcome


def judged(split, accuracy):
    return (0.0, "evaluation", {"split": split, "loss": 0.5, "accuracy": accuracy})


def test_nothing_yet():
    outcome = told()
    assert outcome.accuracy is None
    assert outcome.bytes_full_precision == 0
    assert outcome.summary()["failure"] is None


def test_rounds_loss_and_bytes():
    first = {"round": 1, "rounds": 9, "loss": 2.0, **TRAFFIC}
    outcome = told((1.0, "round", first), (3.5, "round", first | {"round": 2, "loss": 1.0, "bytes_sent": 2000}))
    assert (outcome.round, outcome.rounds, outcome.loss) == (2, 9, 1.0)
    summary = outcome.summary()
    assert summary["seconds"] == 2.5  # from the first round on
    assert summary["bytes_sent"] == 2000
    assert summary["bytes_full_precision"] == 2000 - 700 + 3 * 4 * 50


@pytest.mark.parametrize(
    ("splits", "expected"),
    [(["validation", "test"], 0.1), (["validation", "train"], 0.0), (["train"], 0.0)],
)
def test_the_common_test_set_counts_first(splits, expected):
    order = ["validation", "test", "train"] if "test" in splits else splits
    outcome = told(*(judged(split, index / 10) for index, split in enumerate(order) if split in splits))
    assert outcome.accuracy == pytest.approx(expected)


def test_regression_has_no_accuracy():
    assert told((0.0, "evaluation", {"split": "test", "loss": 3.0})).accuracy is None


def test_the_end():
    edge = {"peer": "ab", "epoch": 0, "seq": 4, "digest": "cd"}
    finished = {"round": 9, "exchanges": 4, "bounded": 1, **TRAFFIC}
    summary = told((9.0, "finished", finished), (9.0, "edge", edge)).summary()
    assert (summary["exchanges"], summary["bounded"], summary["edges"]) == (4, 1, [edge])
    assert summary["bytes_received"] == 900


def test_failures_and_refusals_are_counted():
    outcome = told(
        (0.0, "refused", {"code": "stranger"}),
        (0.0, "rejected", {"code": "norm"}),
        (1.0, "failed", {"reason": "the loss is nan", "round": 3}),
    )
    assert outcome.refused == 2
    assert outcome.summary()["failure"] == "the loss is nan"
