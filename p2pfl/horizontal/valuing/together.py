"""What one evaluator finds out about cells that each did work together. Pure; knows sums and members, no single update.

A subject shows the mean of its cell's work in one weighed round, under the cell's id. All members of a cell show the
same: what most of them show is the cell's, and who shows something else is found out; where two are against two nobody
is, and the cell is worth nothing. Cells are the players; what one is worth is shared equally among the members that
were drawn into it, so the part of one that was away, or is no subject, is nobody's.

A cell that the evaluator does not know (it was away when cells were drawn) it says nothing of.
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.model.work import GossipWork
from p2pfl.horizontal.valuing.appraisal import Appraisal, Appraised, Subject, look_at, micro, value_of
from p2pfl.ledger.feeds.kinds import FAIR, STALE, UNOPENED
from p2pfl.valuation import cosine, digest_of, is_stale, scaled
from p2pfl.valuation.checks import STALE_COSINE

Cells = Mapping[bytes, tuple[NodeId, ...]]


class Said(NamedTuple):
    """One subject's word on its cell."""

    node: NodeId
    update: Tensor


def appraise_cells(task: Appraisal, cells: Cells, work: GossipWork) -> Appraised:
    """Look at each subject's work, then value the cells that are sound together."""
    findings: dict[NodeId, int] = {}
    seen: dict[NodeId, Tensor] = {}
    said: dict[bytes, list[Said]] = {}
    for subject in task.subjects:
        cell = _cell_of(subject)
        if cell is not None and cell not in cells:
            continue
        finding, update = look_at(subject, task.receipts, work)
        if finding == FAIR and (cell is None or subject.node not in cells[cell]):
            finding = UNOPENED
        findings[subject.node] = finding
        if finding == FAIR and update is not None and cell is not None:
            seen[subject.node] = update
            said.setdefault(cell, []).append(Said(subject.node, update))
    players: list[bytes] = []
    updates: list[Tensor] = []
    for cell in sorted(said):
        agreed = agreed_on(said[cell])
        for word in said[cell]:
            if agreed is not None and cosine(word.update, agreed) <= STALE_COSINE:
                findings[word.node] = UNOPENED
        if agreed is None:
            continue
        if is_stale(agreed, task.earlier):
            findings |= {word.node: STALE for word in said[cell] if findings[word.node] == FAIR}
            continue
        players.append(cell)
        updates.append(agreed)
    found = value_of(task, players, scaled(updates), work)
    shares = {cell: value / len(cells[cell]) for cell, value in zip(players, found.values, strict=True)}
    values = {w.node: shares[cell] for cell in players for w in said[cell] if findings[w.node] == FAIR}
    rows = tuple((node, micro(values.get(node, 0.0)), finding) for node, finding in findings.items())
    samples = work.learner.num_samples(task.split)
    return Appraised(rows, seen, digest_of(task.x), found.name, found.evaluations, samples)


def agreed_on(said: list[Said]) -> Tensor | None:
    """What more members of a cell show than anything else; None if two things are shown by as many."""
    counts = [sum(cosine(a.update, b.update) > STALE_COSINE for b in said) for a in said]
    most = [word for word, count in zip(said, counts, strict=True) if count == max(counts)]
    same = all(cosine(most[0].update, word.update) > STALE_COSINE for word in most)
    return most[0].update if same else None


def _cell_of(subject: Subject) -> bytes | None:
    """The cell that the subject's opening names; None if it shows nothing."""
    return None if subject.shown is None else subject.shown.opening.to
