"""The network of tests/ledger/final with everybody a worker and paid once; and the sum that must hold."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from p2pfl.core.ids import NodeId
from p2pfl.ledger.feeds.statements import seal
from p2pfl.ledger.outcome import stake, tasks
from p2pfl.ledger.outcome.state import State


def builder() -> Any:
    path = Path(__file__).parents[1] / "final" / "conftest.py"
    spec = importlib.util.spec_from_file_location("rules_network", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = builder()
SALT = b"\x5a" * 32


class Market(BUILD.Network):  # type: ignore[misc]  # loaded by path: its conftest is of another folder
    """Everybody is a worker, and the first window has paid them. Windows of 2 heights."""

    def __init__(self, n: int = 5, **terms: Any) -> None:
        super().__init__(
            n, authorities=n, validators=min(n, 4), **{"window": 2, "epoch": 64, "supply": 10_000, **terms}
        )
        self.work()
        self.window()

    def key(self, who: int) -> NodeId:
        node: NodeId = self.nodes[who].node
        return node

    def work(self, count: int = 1, *senders: int) -> None:
        """Each of them (all, if none is named) sends `count` messages to all others, and all of it is named."""
        for sender in senders or range(len(self.nodes)):
            for receiver in range(len(self.nodes)):
                if sender != receiver:
                    self.sends(sender, receiver, count)

    def window(self) -> Any:
        """Heights until the open window is closed; the outcome of the last."""
        outcome = self.close()
        while outcome.settlement is None:
            outcome = self.close()
        return outcome

    def bid(self, who: int, task: bytes, units: int, ask: int) -> None:
        self.say(who, "bid.commit", [task, seal(self.net, task, self.key(who), units, ask, SALT)])

    def reveal(self, who: int, task: bytes, units: int, ask: int) -> Any:
        return self.say(who, "bid.reveal", [task, units, ask, SALT])


def is_conserved(state: State) -> bool:
    """Every credit that was ever issued is somewhere, once."""
    balances = sum(int(value[0]) for _, value in state.items("balance"))  # type: ignore[arg-type]
    return state.number("issued") == balances + stake.total(state) + tasks.escrow(state) + state.number("burned")


@pytest.fixture(scope="session")
def make_market() -> type[Market]:
    return Market


@pytest.fixture(scope="session")
def conserved() -> Any:
    return is_conserved
