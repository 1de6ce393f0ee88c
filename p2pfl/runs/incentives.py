"""A network whose nodes behave in different ways, in the simulator, and what each earned. Knows no terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from p2pfl.config import NetworkConfig
from p2pfl.core.ids import NodeId
from p2pfl.core.party import Emit
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.outcome.state import State
from p2pfl.runs.folder import RunFolder
from p2pfl.runs.network import network_summary, write_simulation
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated
from p2pfl.strategies import STRATEGIES, Strategy, make_strategy

RULE = "score"
VOTERS_MAX = 16


@dataclass(frozen=True, slots=True)
class Earned:
    """One node's row. scores: of the windows that the ledger still has, in order, as (window, millionths, finding)."""

    name: str
    strategy: str
    works: bool
    credits: int
    accuracy: float | None
    scores: tuple[tuple[int, int, int], ...]
    valuation: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "strategy": self.strategy,
            "works": self.works,
            "credits": self.credits,
            "accuracy": self.accuracy,
            "scores": [list(score) for score in self.scores],
            "valuation": self.valuation,
        }


def strategies_of(names: Sequence[str], keys: Sequence[NodeId]) -> list[Strategy]:
    """One strategy per node; those of one name, other than honest, are each other's friends."""
    friends = {
        name: frozenset(key for key, of in zip(keys, names, strict=True) if of == name) for name in sorted(set(names))
    }
    return [make_strategy(name, friends[name]) for name in names]


def build_trial(
    config: NetworkConfig,
    names: Sequence[str],
    world: World,
    *,
    window: int = 4,
    rule: str = RULE,
    on_emit: Callable[[Outcome, Emit], None] = lambda outcome, emit: None,
) -> Simulation:
    """A simulation of as many nodes as there are names, with a ledger whose windows have `window` heights."""
    config = simulated(config, len(names))
    config = replace(config, valuation=replace(config.valuation, on=True))
    keys = [entry.key for entry in config.nodes]
    members = tuple(sorted(keys))
    genesis = Genesis(config.name, members, members[:VOTERS_MAX], window=window, rule=rule)
    return build_simulation(config, world, on_emit=on_emit, genesis=genesis, strategies=strategies_of(names, keys))


def run_trial(simulation: Simulation, names: Sequence[str]) -> list[Earned]:
    """Run it to its end, and read the ledger of the node that is farthest."""
    run_simulation(simulation)
    keepers = [node.party.keeper for node in simulation.nodes.values() if node.party.keeper is not None]
    tip = max((keeper.tip for keeper in keepers), key=lambda tip: tip.height)
    return earned(simulation, names, tip.state)


def write_trial(folder: RunFolder, simulation: Simulation, rows: Sequence[Earned]) -> None:
    """As of any simulated network; the summary says besides how the nodes behaved, and what they earned."""
    ids = {name: node.hex() for name, node in simulation.shared.ids.items()}
    stores = [simulation.host.store(node) for node in simulation.shared.ids.values()]
    summary = network_summary(simulation.outcomes.values(), None, ids, stores)
    summary |= {"engine": "events", "strategies": {row.name: row.strategy for row in rows}}
    write_simulation(folder, simulation, summary | {"earned": [row.plain() for row in rows]})


def earned(simulation: Simulation, names: Sequence[str], state: State) -> list[Earned]:
    """What each node has, by the state of the ledger."""
    rows = []
    for entry, name in zip(simulation.shared.config.nodes, names, strict=True):
        outcome = simulation.outcomes[entry.name]
        rows.append(
            Earned(
                entry.name,
                name,
                STRATEGIES[name].works,
                state.number("balance", entry.key),
                outcome.accuracy,
                scores_of(state, entry.key),
                dict(outcome.valuation),
            )
        )
    return rows


def scores_of(state: State, node: NodeId) -> tuple[tuple[int, int, int], ...]:
    """The node's scores that are in the state: (window, millionths, finding), ascending."""
    found = [(window, *value) for (window, subject), value in state.items("score") if subject == node]
    return tuple((window, micro, finding) for window, micro, _, finding in found)
