"""Many nodes of whose models a part stays with each, trained at once. Knows crews and parts; knows no neighbour.

The engines (learn/stacked.py) see whole models; the network's rows hold what is shared.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from p2pfl.learn.crew import Drill, Order, Shifts
from p2pfl.learn.part import KEPT, Part
from p2pfl.learn.stacked import TorchCrew


class PartCrew(TorchCrew):
    """A crew over what is shared: rows (N, S), and among the slots what each node keeps (N, K)."""

    def __init__(self, part: Part, *args: Any, **options: Any) -> None:
        """`part`, and all else as a TorchCrew over whole models takes it."""
        self.part = part
        super().__init__(*args, **options)

    def slots(self, num_nodes: int, x: Tensor) -> dict[str, Tensor]:
        kept = self.part.split(self.model.start())[1].to(x.dtype)
        slots = super().slots(num_nodes, self.part.join(x, kept))
        return {**slots, KEPT: kept.expand(num_nodes, -1).clone()}

    def rows(self, x: Tensor, slots: Mapping[str, Tensor] | None, nodes: Sequence[int]) -> Tensor:
        assert slots is not None
        at = list(nodes)
        return self.part.join(x[at], slots[KEPT][at])

    def _train(self, x: Tensor, slots: dict[str, Tensor], shifts: Shifts, orders: Sequence[Order]) -> Drill:
        nodes = [order.node for order in orders]
        at, shift = torch.tensor(nodes), shifts(nodes)
        inner = {name: slot[at] for name, slot in slots.items() if name != KEPT}
        z = None if shift is None else self.part.spread(shift)
        chunk = self._chunk(self.rows(x, slots, nodes), inner, z, orders)
        outcome = self._engine(chunk).run(chunk, in_place=True)
        x[at], slots[KEPT][at] = self.part.split(outcome.x)
        for name in inner:
            slots[name][at] = outcome.slots[name]
        return self._drill(orders, chunk, outcome)
