"""Nothing that is computed on private data leaves a private node but through the noisy sums: not interfering.

Two networks that differ in all private figures (loss, accuracy, scores, counts) and in nothing that was noised must be
told apart by nobody: every message, every stored entry and every status document is compared, bit for bit. So whatever
is added to a message later is covered without a list of its fields. The controls show that the comparison bites.
"""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tomli_w

from p2pfl.config import NetworkConfig, parse_network
from p2pfl.core.party import Answered, Offered, Received
from p2pfl.horizontal.records.budget import SPACE
from p2pfl.hosts import server
from p2pfl.learn.training import Evaluation
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated

pytest.importorskip("dp_accounting", reason="needs dp-accounting: pip install 'p2pfl-node[privacy]'")

ROUTES = {"/v1/exchange", "/v1/gossip", "/v1/status", "/v1/ledger/"}
"""The routes of a node's server. One that is added must be looked at here: what does it tell of the data?"""


def document(private: bool, **pace: Any) -> NetworkConfig:
    plain: dict[str, Any] = {
        "format": 1,
        "model": {"name": "linear"},
        "pace": {"rounds": 4, "window": 2, "evaluate": 1} | pace,
        "train": {"lr": 0.1, "steps": 2},
        "data": {"source": "digits", "partition": {"by": "dirichlet", "alpha": 0.5}},
    }
    if private:
        plain["privacy"] = {"unit": "example", "noise": 1.0, "rate": 0.2, "delta": 1e-4}
    return simulated(parse_network(tomli_w.dumps(plain), Path("network.toml")), 4)


class Liar:
    """A learner whose private figures are others than those of the one inside."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def num_samples(self, split: str) -> int:
        return 1000 + self.inner.num_samples(split)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        trained = self.inner.train(*args, **kwargs)
        return replace(trained, loss=123.456, accuracy=0.123, samples=trained.samples + 7)

    def evaluate(self, x: Any, split: str) -> Evaluation:
        return Evaluation(98.7, 0.987, 4321)


def outside(config: NetworkConfig, lie: bool, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """All that others get of a run: messages in order, entries, status documents."""
    with monkeypatch.context() as patch:
        if lie:
            from p2pfl.assemble.network import Shared

            plain = Shared.learner
            patch.setattr(Shared, "learner", lambda self, splits, train: Liar(plain(self, splits, train)))
        simulation = build_simulation(config, World(), record=True)
        statuses: list[dict[str, Any]] = []
        for _ in range(3):
            trace = run_simulation(simulation, until=0.02 * (1 + len(statuses)))
            statuses += [node.party.status() for node in simulation.nodes.values()]
        trace = run_simulation(simulation)
    assert trace.outcome == "stopped"
    messages = [
        (node, now, *(bytes(getattr(event, name)) for name in ("head", "body", "data") if hasattr(event, name)))
        for node, events in sorted(trace.events.items())
        for now, event in events
        if isinstance(event, Offered | Received | Answered)
    ]
    entries = [simulation.host.store(node).load()["entry"] for node in sorted(simulation.shared.ids.values())]
    statuses += [node.party.status() for node in simulation.nodes.values()]
    return SimpleNamespace(
        messages=messages, entries=entries, statuses=[json.dumps(s, sort_keys=True) for s in statuses]
    )


@pytest.mark.parametrize(("mode", "mix"), [("async", "pairwise"), ("lockstep", "pairwise"), ("lockstep", "average")])
def test_private_figures_change_nothing_that_leaves(mode: str, mix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(
        document(True, mode=mode), mix=replace(document(True).mix, rule=type(document(True).mix.rule)(mix))
    )
    honest, other = (outside(config, lie, monkeypatch) for lie in (False, True))
    assert len(honest.messages) > 50
    assert honest.messages == other.messages
    assert honest.entries == other.entries
    assert honest.statuses == other.statuses


def test_the_comparison_sees_what_a_plain_node_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, other = (outside(document(False), lie, monkeypatch) for lie in (False, True))
    assert honest.messages != other.messages  # the averages hold a count
    assert honest.statuses != other.statuses  # and the status an evaluation


def test_the_status_of_a_private_node_has_its_budget_and_no_score() -> None:
    simulation = build_simulation(document(True), World())
    run_simulation(simulation)
    status = next(iter(simulation.nodes.values())).party.status()
    assert "evaluation" not in status
    assert status["privacy"]["releases"] == 8
    assert SPACE == "privacy"


def test_every_route_has_been_looked_at() -> None:
    assert {*server.POSTS, *server.ASKED, server.READ} == ROUTES
