"""All that a shard must remember between two rounds, as named tensors. Knows no file.

Names and shapes are in docs/formats/shard.md. What is not here follows from the document: keys, data, the graph, and
caches of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from math import isnan, nan
from typing import Any

import torch
from torch import Tensor

from p2pfl.horizontal.terms.averages import Averages
from p2pfl.hosts.dense import Cell
from p2pfl.hosts.dense_pairs import Bond, DensePairs, fields_of
from p2pfl.hosts.dense_rows import DenseRows
from p2pfl.hosts.shards import ShardHost
from p2pfl.mixing.pairwise import PairState

Kept = dict[str, Tensor]

CELL = ("reported", "next_evaluation", "bounded", "exchanges")
LOCAL = ("steps", "samples", "finished", "work", "work_mark")
TRAFFIC = ("bytes_sent", "bytes_received", "bodies_sent", "body_bytes_sent")
AVERAGES = tuple(f.name for f in fields(Averages))
NO_COUNT = -1


def keep(host: ShardHost) -> Kept:
    """Copies of nothing: write them down before the next step."""
    found = dict(_tensors(host))
    for name, values in _counts(host.cells):
        found[name] = torch.tensor(values, dtype=torch.float64 if _is_double(name) else torch.int64)
    if isinstance(host.exchanging, DensePairs):
        found |= _bonds(host.exchanging)
    found["index"] = torch.tensor([host.index])
    return found


def restore(host: ShardHost, kept: Kept) -> None:
    """Make a fresh host of the same document what the kept one was. Raises ValueError if it cannot be."""
    expected = keep(host)
    if kept.keys() != expected.keys():
        odd = sorted(kept.keys() ^ expected.keys())[0]
        raise ValueError(f"expected the tensors of this document's shard; {odd!r} is in only one of them")
    for name, like in expected.items():
        if kept[name].shape != like.shape or kept[name].dtype != like.dtype:
            got = kept[name]
            raise ValueError(f"{name}: expected {like.dtype} {tuple(like.shape)}, got {got.dtype} {tuple(got.shape)}")
    for name, tensor in _tensors(host):
        tensor.copy_(kept[name])
    for row, cell in enumerate(host.cells):
        _recall(cell, kept, row)
    if isinstance(host.exchanging, DensePairs):
        _rebind(host.exchanging, kept)
    host.index = int(kept["index"])


def _tensors(host: ShardHost) -> Iterator[tuple[str, Tensor]]:
    """Those that the shard itself works on."""
    yield "x", host.models.x
    for name, slot in host.slots.items():
        yield f"slot.{name}", slot
    exchanging = host.exchanging
    if isinstance(exchanging, DensePairs):
        for field, value in zip(fields(PairState), fields_of(exchanging.state), strict=True):
            yield f"state.{field.name}", value
        yield "references", exchanging.references
    elif isinstance(exchanging, DenseRows):
        for name, value in exchanging.states.items():
            yield f"state.{name}", value


# ------------------------------------------------------------------------------------------------ scalars of nodes


def _is_double(name: str) -> bool:
    return name in ("local.work", "local.work_mark") or (name.startswith("averages.") and name != "averages.stop_at")


def _counts(cells: Sequence[Cell]) -> Iterator[tuple[str, list[Any]]]:
    """By name, one value a node."""
    for name in CELL:
        values = [getattr(cell, name) for cell in cells]
        yield f"cell.{name}", [NO_COUNT if value is None else value for value in values]
    for name in LOCAL:
        yield f"local.{name}", [getattr(cell.local, name) for cell in cells]
    for name in TRAFFIC:
        yield f"traffic.{name}", [getattr(cell.traffic, name) for cell in cells]
    for name in AVERAGES:
        yield f"averages.{name}", [getattr(cell.local.averages, name) for cell in cells]


def _recall(cell: Cell, kept: Kept, row: int) -> None:
    for name in CELL:
        value = kept[f"cell.{name}"][row].item()
        setattr(cell, name, None if name == "exchanges" and value == NO_COUNT else value)
    for name in LOCAL:
        value = kept[f"local.{name}"][row].item()
        setattr(cell.local, name, bool(value) if name == "finished" else value)
    for name in TRAFFIC:
        setattr(cell.traffic, name, kept[f"traffic.{name}"][row].item())
    averages: dict[str, Any] = {name: kept[f"averages.{name}"][row].item() for name in AVERAGES}
    cell.local.averages = Averages(**averages)


# ------------------------------------------------------------------------------------------------ edges


def _in_order(pairs: DensePairs) -> list[tuple[Bond, list[int]]]:
    """Every bond and the rows of its ends here, ascending; in the order of the references."""
    ends: dict[int, tuple[Bond, list[int]]] = {}
    for row, bonds in enumerate(pairs.bonds):
        for bond in bonds.values():
            ends.setdefault(bond.place, (bond, []))[1].append(row)
    return [ends[place] for place in range(len(ends))]


def _bonds(pairs: DensePairs) -> Kept:
    groups = len(pairs.setting.schema.groups)
    integers, doubles = [], []
    for bond, rows in _in_order(pairs):
        integers.append([bond.epoch, bond.seq, *bond.exponents])
        norms = [bond.norms.get(row, nan) for row in rows]
        doubles.append([nan if bond.distance is None else bond.distance, *norms, *[nan] * (2 - len(norms))])
    return {
        "bond.integers": torch.tensor(integers, dtype=torch.int64).reshape(-1, 2 + groups),
        "bond.doubles": torch.tensor(doubles, dtype=torch.float64).reshape(-1, 3),
    }


def _rebind(pairs: DensePairs, kept: Kept) -> None:
    told = zip(_in_order(pairs), kept["bond.integers"].tolist(), kept["bond.doubles"].tolist(), strict=True)
    for (bond, rows), (epoch, seq, *exponents), (distance, *norms) in told:
        bond.epoch, bond.seq, bond.exponents = epoch, seq, tuple(exponents)
        bond.distance = None if isnan(distance) else distance
        bond.norms = {row: norm for row, norm in zip(rows, norms, strict=False) if not isnan(norm)}
