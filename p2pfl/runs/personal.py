"""Nodes' own copies of the model, in summaries and run folders. Knows what nodes emitted; knows no terminal."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from p2pfl.assemble.network import Shared
from p2pfl.runs.folder import PERSONAL, RunFolder
from p2pfl.transfer.personal import Copy

_MEANS = ("own_accuracy", "accuracy", "shared_own_accuracy", "shared_accuracy")


def personal_report(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Of the nodes' summaries: means over the nodes with a copy; None if nobody has one.

    own: on the common test set as the node's own labels weigh it; without: of the shared model beside it.
    """
    told = [row["personal"] for row in rows if row.get("personal")]
    if not told:
        return None
    means = {name: _mean([fields.get(name) for fields in told]) for name in _MEANS}
    owns = [fields["own_accuracy"] for fields in told if fields.get("own_accuracy") is not None]
    return {"nodes": len(told), **means, "own_accuracy_min": min(owns, default=None)}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def write_copy(folder: RunFolder, copy: Copy | None, shared: Shared, round_: int) -> None:
    """Beside the shared model; nothing if there is no copy."""
    if copy is not None:
        folder.write_model(shared.model.tensors(copy.x), shared.recipe.digest, round_, PERSONAL)
