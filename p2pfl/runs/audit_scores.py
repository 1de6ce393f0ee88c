"""The ledger's credits beside a second opinion: the whole of `p2pfl ledger audit-scores` but its words. Knows runs and
ledgers; knows no terminal.

By updates: what evaluators were shown is scored again (second_opinion.py), and compared with what was paid for the same
windows. By retraining: what nodes' data are worth (retraining.py), compared with all that was paid.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from p2pfl.assemble.network import Shared, assemble
from p2pfl.config import NetworkConfig
from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError
from p2pfl.learn.data import SplitName
from p2pfl.ledger.check.standings import Closed
from p2pfl.runs.holdings import Holding, holdings, network_of
from p2pfl.runs.retraining import retrain
from p2pfl.runs.second_opinion import combine, opinions_again
from p2pfl.valuation import shares, spearman

By = Literal["updates", "retraining"]


@dataclass(frozen=True, slots=True)
class Asked:
    """by, split: None for what the run can give. node: only this one's folder, and its examples to judge on."""

    by: By | None = None
    split: SplitName | None = None
    node: str | None = None
    orders: int = 200
    rounds: int = 8


@dataclass(frozen=True, slots=True)
class Compared:
    """One node: credits paid, the value found again, and both as shares of what all have. windows: of scored work that
    were looked at; 0 by retraining."""

    name: str
    key: NodeId
    credits: int
    value: float
    share: float
    again: float
    windows: int

    @property
    def difference(self) -> float:
        return self.again - self.share


@dataclass(frozen=True, slots=True)
class Audited:
    """rows: in the document's order. windows: that were scored again. notes: what is missing, or to mind."""

    by: By
    rows: tuple[Compared, ...]
    windows: tuple[int, ...]
    evaluators: tuple[str, ...]
    split: SplitName
    examples: int
    estimator: str
    evaluations: int
    notes: tuple[str, ...]

    @property
    def spearman(self) -> float | None:
        """Of credits and values; None where one of the two does not tell anybody from another."""
        return spearman([row.credits for row in self.rows], [row.value for row in self.rows])


def audit_scores(
    run: Path, closed: Sequence[Closed], asked: Asked, on_step: Callable[[int, int], None] = lambda done, of: None
) -> Audited:
    """`closed`: the ledger's windows. Raises ConfigError, saying what is missing."""
    network = network_of(run)
    shared, held = assemble(network, device="cpu"), holdings(run, network)
    judge = _judge(held, asked.node)
    split = asked.split or ("test" if len(held[judge].splits(network).test) else "validation")
    missing: tuple[str, ...] = ()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if asked.by != "retraining":
            found = _by_updates(shared, held, closed, asked, split, on_step)
            if isinstance(found, Audited):
                return _private(found, network)
            if asked.by == "updates":
                raise ConfigError(f"{run}: {found}")
            missing = (found,)
        return _private(_by_retraining(shared, held, judge, closed, asked, split, missing, on_step), network)
    finally:
        torch.set_num_threads(threads)


def _private(found: Audited, network: NetworkConfig) -> Audited:
    """What is computed on examples that are promised privacy is no release, and must not become one unnoticed."""
    if network.privacy.unit == "none" or (found.by == "updates" and found.split == "test"):
        return found
    line = "these figures tell of examples that [privacy] protects, and are not noised: keep them to yourself"
    return replace(found, notes=(*found.notes, line))


def _judge(held: Sequence[Holding], node: str | None) -> int:
    """Whose examples count: the asked node's, else those of the first one whose data are at hand."""
    for index, holding in enumerate(held):
        if node is not None and (holding.name == node or holding.key.hex().startswith(node.lower())):
            return index
        if node is None and holding.data is not None:
            return index
    raise ConfigError(f"expected a node whose data are at hand, found {'none' if node is None else repr(node)}")


def _by_updates(
    shared: Shared,
    held: Sequence[Holding],
    closed: Sequence[Closed],
    asked: Asked,
    split: SplitName,
    on_step: Callable[[int, int], None],
) -> Audited | str:
    """What was found, or why there is nothing."""
    chosen = [
        h for i, h in enumerate(held) if h.folder is not None and (not asked.node or i == _judge(held, asked.node))
    ]
    scored = {window.scored: window for window in closed if window.scores}
    opinions = []
    for number, holding in enumerate(chosen):
        again = opinions_again(shared, holding, split, asked.orders)
        opinions += [opinion for opinion in again if opinion.window in scored]
        on_step(number + 1, len(chosen))
    if not opinions:
        return (
            "no update that evaluators were shown is kept here, of a window that was paid for: expected the folders of "
            "nodes that evaluated, with [valuation] keep above 0"
        )
    combined = combine(opinions)
    windows = tuple(sorted({opinion.window for opinion in opinions}))
    paid = {h.key: sum(scored[window].payouts.get(h.key, 0) for window in windows) for h in held}
    absent = sorted(scored.keys() - set(windows))
    missing = (
        (f"{len(absent)} scored windows: what was shown is not kept, or not any more ([valuation] keep)",)
        if absent
        else ()
    )
    names = tuple(sorted({opinion.evaluator for opinion in opinions}))
    heard = [h for h in held if h.key in combined.values]
    rows = _rows(heard, paid, [combined.values[h.key] for h in heard], combined.windows)
    silent = [h.name for h in held if h.key not in combined.values]
    if silent:
        missing = (*missing, f"nobody whose folder is here judged {', '.join(silent)}")
    best = max(opinions, key=lambda opinion: opinion.evaluations)
    count = sum(opinion.evaluations for opinion in opinions)
    return Audited("updates", rows, windows, names, split, best.examples, best.estimator, count, missing)


def _by_retraining(
    shared: Shared,
    held: Sequence[Holding],
    judge: int,
    closed: Sequence[Closed],
    asked: Asked,
    split: SplitName,
    missing: tuple[str, ...],
    on_step: Callable[[int, int], None],
) -> Audited:
    found = retrain(shared, held, judge, split, asked.rounds, asked.orders, on_step)
    paid = {h.key: sum(window.payouts.get(h.key, 0) for window in closed) for h in held}
    rows = _rows(held, paid, found.values, {})
    judges = (held[judge].name,)
    counts = (found.examples, found.estimator, found.evaluations)
    return Audited("retraining", rows, (), judges, split, *counts, missing)


def _rows(
    held: Sequence[Holding], paid: dict[NodeId, int], values: Sequence[float], windows: Mapping[NodeId, int]
) -> tuple[Compared, ...]:
    credits = [paid[holding.key] for holding in held]
    columns = zip(held, credits, values, shares(credits), shares(values), strict=True)
    return tuple(Compared(h.name, h.key, c, v, a, b, windows.get(h.key, 0)) for h, c, v, a, b in columns)
