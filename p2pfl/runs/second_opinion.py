"""Scores computed again from what evaluators were shown, by whoever has their folders. Knows stores, learners and
games; knows no terminal, and reads no ledger.

What it needs of an evaluator's store is in the space "valuing" (horizontal/valuing/memory.py): its model of a window's
beginning, the updates it was shown, and what it found of each. Of the updates that were sound the Shapley
values are computed anew, on any examples at hand, exactly or with many more permutations than the network's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from p2pfl.assemble.network import Shared
from p2pfl.core.ids import NodeId
from p2pfl.core.noise import derive, root
from p2pfl.horizontal.model.work import GossipWork, decode_sections
from p2pfl.horizontal.valuing.appraisal import Utility, parts_of
from p2pfl.horizontal.valuing.making import valuing_work
from p2pfl.horizontal.valuing.memory import SPACE, Memory, Recalled
from p2pfl.horizontal.valuing.shown import unpack
from p2pfl.learn.data import SplitName
from p2pfl.ledger.feeds.kinds import FAIR, UNFELT
from p2pfl.ledger.stores.reader import STORE, open_reader
from p2pfl.mixing.cell import Cell
from p2pfl.runs.holdings import Holding
from p2pfl.valuation import Game, best_step, exact, lower_median, permutations, scaled
from p2pfl.valuation.shapley import TOLERANCE

EXACT_PLAYERS = 9
"""Up to so many updates all 2^n coalitions are tried."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """Of one window, by one evaluator's model: a value for each subject; 0 for work that was not sound. unfelt: of whom
    this evaluator heard that their neighbours had not felt their work."""

    window: int
    evaluator: str
    values: Mapping[NodeId, float]
    estimator: str
    evaluations: int
    examples: int
    unfelt: frozenset[NodeId] = frozenset()


@dataclass(frozen=True, slots=True)
class Combined:
    """Over all windows: the sum of the lower medians of the opinions on each subject, and in how many it had one."""

    values: Mapping[NodeId, float]
    windows: Mapping[NodeId, int]


def opinions_again(shared: Shared, holding: Holding, split: SplitName, orders: int) -> list[Opinion]:
    """One for each window whose subjects' work this node was shown, judged, and still keeps."""
    if holding.folder is None:
        return []
    work = valuing_work(shared.work(holding.splits(shared.config), holding.train))
    found = recalled(holding.folder / STORE, work)
    return [
        opinion
        for window in sorted(found.judged)
        if (opinion := _again(window, found, work, holding.name, split, orders)) is not None
    ]


def recalled(store: Path, work: GossipWork) -> Recalled:
    """What the store keeps of valuing. Raises BrokenChain."""
    with open_reader(store) as reader:
        cells = [(cell.key, cell.value) for cell in reader.cells(SPACE)]
    space = {key: value for key, value in cells if isinstance(key, bytes) and isinstance(value, bytes)}
    return Memory().recall({SPACE: space}, work)


def combine(opinions: Sequence[Opinion]) -> Combined:
    """As the ledger combines scores: nobody's opinion alone moves a median of three, and two listeners convict."""
    said: dict[tuple[NodeId, int], list[float]] = {}
    unfelt = Counter((node, opinion.window) for opinion in opinions for node in opinion.unfelt)
    for opinion in opinions:
        for node, value in opinion.values.items():
            said.setdefault((node, opinion.window), []).append(value)
    values: dict[NodeId, float] = {}
    windows: dict[NodeId, int] = {}
    for (node, window), heard in said.items():
        median = lower_median([round(1e6 * value) for value in heard]) / 1e6
        values[node] = values.get(node, 0.0) + (min(median, 0.0) if unfelt[node, window] >= 2 else median)
        windows[node] = windows.get(node, 0) + 1
    return Combined(values, windows)


def _again(window: int, found: Recalled, work: GossipWork, name: str, split: SplitName, orders: int) -> Opinion | None:
    """None if the model of that time, or a sound update, is not kept any more."""
    rows = found.judged[window]
    players = [node for node, _, finding in rows if finding in (FAIR, UNFELT)]
    models = {0: work.learner.start(), **found.models}  # no window opens before the first
    x, after = models.get(max(window - 1, 0)), models.get(window)
    if x is None or after is None or any((window, node) not in found.shown for node in players):
        return None
    teams = _teams(found, window, players, work)
    updates = scaled([_update(found, window, team[0], work) for team, _ in teams])
    utility = Utility(work, split)
    gain = utility(after) - utility(x)
    step = best_step(x, updates, lambda y: -work.learner.evaluate(y, split).loss)
    game = Game(x, updates, utility, step)
    if len(teams) <= EXACT_PLAYERS:
        estimate = exact(len(teams), game)
    else:
        estimate = permutations(len(teams), game, derive(root(0), "again", window), orders, 0.0)
    values = {node: 0.0 for node, _, _ in rows}
    parts = parts_of(gain, estimate.values) if gain > TOLERANCE else (0.0,) * len(teams)
    for (team, size), value in zip(teams, parts, strict=True):
        values |= dict.fromkeys(team, value / size)
    unfelt = frozenset(node for node, _, finding in rows if finding == UNFELT)
    return Opinion(window, name, values, estimate.name, game.evaluations, work.learner.num_samples(split), unfelt)


def _teams(found: Recalled, window: int, nodes: list[NodeId], work: GossipWork) -> list[tuple[list[NodeId], int]]:
    """Who is one player together, and how many share what it is worth: each alone, or those of one cell."""
    if not isinstance(work.mixer, Cell):
        return [([node], 1) for node in nodes]
    teams: dict[bytes, tuple[list[NodeId], int]] = {}
    for node in nodes:
        opening = found.shown[window, node][0].opening
        teams.setdefault(opening.to, ([], opening.epoch))[0].append(node)
    return list(teams.values())


def _update(found: Recalled, window: int, node: NodeId, work: GossipWork) -> Tensor:
    shown, body = found.shown[window, node]
    return decode_sections(work.codec, shown.sections, unpack(shown, body, work.schema.size).update, work.schema)
