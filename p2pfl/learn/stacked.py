"""The built-in learner over many nodes at once: rows in, chunks through an engine, rows out. Knows no neighbour.

Legend: N nodes, P values in a model, W of them trainable; n nodes in a chunk, H local steps, B samples in a batch.

Nodes that do the same number of steps on batches of the same size make a group; a group is trained chunk by chunk,
each chunk through all its steps while it is in the cache. What a node's result is does not depend on its chunk: rows do
not meet, and batches come from the node's own key.

Engines (`ENGINES`, in this order): `matmul` for linear layers with ReLU, by batched products with a backward pass
written out; `vmap` for whatever torch.func can map; `loop`, the node's own loop over one shared model, for everything.
With "auto" the first chunk is trained by each that fits, and the fastest goes on; the loop, which gives the node's very
bits, gives way only to one that is faster by `MARGIN`, so that noise does not choose.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from p2pfl.core.noise import derive
from p2pfl.errors import ConfigError, TrainingError
from p2pfl.learn.chunk import Chunk, Engine, Outcome, Unfit
from p2pfl.learn.crew import CannotTrain, Drill, Order, Shifts
from p2pfl.learn.data import SplitName
from p2pfl.learn.engines import Loop, Vmap
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.matmul import Matmul
from p2pfl.learn.pool import Pool
from p2pfl.learn.training import Evaluation, Training
from p2pfl.learn.unfreeze import stillness
from p2pfl.learn.walk import mean_loss

EngineName = Literal["auto", "matmul", "vmap", "loop"]
ENGINES: dict[str, Callable[[FlatModel, Pool, Training], Engine]] = {"matmul": Matmul, "vmap": Vmap, "loop": Loop}
MARGIN = 1.15
TRIALS = 3


class TorchCrew:
    """A `Crew` over a `FlatModel` and a `Pool`. `chunk` overrides the engines' own number of nodes in a chunk;
    `directions`: whether anybody will ask for the lengths of the steps. `clock`: seconds that this process has worked,
    to choose an engine by; one that stands still chooses the first that fits.

    Raises ConfigError if the engine that is asked for does not fit the model.
    """

    def __init__(
        self,
        model: FlatModel,
        pool: Pool,
        training: Training,
        engine: EngineName = "auto",
        chunk: int | None = None,
        directions: bool = True,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.model, self.pool, self.training, self.chunk, self.directions = model, pool, training, chunk, directions
        self.clock = clock
        self.stillness = stillness(model.schema, training.unfreeze)
        self.candidates = self._candidates(engine)
        self.engine = self.candidates[0] if len(self.candidates) == 1 else None

    @property
    def engine_name(self) -> str:
        """Of the engine in use; "auto" before the first phase has told."""
        return next((name for name, kind in ENGINES.items() if type(self.engine) is kind), "auto")

    def _candidates(self, wanted: EngineName) -> list[Engine]:
        found = []
        for name, make in ENGINES.items():
            if wanted not in ("auto", name):
                continue
            try:
                found.append(make(self.model, self.pool, self.training))
            except Unfit as why:
                if wanted == name:
                    raise ConfigError(f"train engine {name!r}: {why}; use 'auto'") from None
        return found

    def slots(self, num_nodes: int, x: Tensor) -> dict[str, Tensor]:
        state = self.training.optimizer.init(x[: self.model.num_weights])
        return {name: slot.expand(num_nodes, -1).clone() for name, slot in state.slots.items()}

    def lr_at(self, node: int, round: int) -> float:
        return self.training.lr * self.training.schedule(round / self.training.num_rounds)

    def num_samples(self, node: int, split: SplitName) -> int:
        return self.pool.num_samples(node, split)

    def train(self, x: Tensor, slots: dict[str, Tensor], shifts: Shifts, orders: Sequence[Order]) -> Iterator[Drill]:
        def alike(order: Order) -> tuple[int, int]:
            return order.steps, self.pool.batch[order.node]

        for _, group in groupby(sorted(orders, key=alike), key=alike):
            members, at = list(group), 0
            while at < len(members):
                size = self.chunk or (self.engine or self.candidates[0]).chunk
                part = members[at : at + size]
                yield self._train(x, slots, shifts, part)
                at += len(part)

    def _train(self, x: Tensor, slots: dict[str, Tensor], shifts: Shifts, orders: Sequence[Order]) -> Drill:
        nodes = [order.node for order in orders]
        where: slice | Tensor = torch.tensor(nodes)
        if nodes[-1] - nodes[0] == len(nodes) - 1:
            where = slice(nodes[0], nodes[-1] + 1)
        chunk = self._chunk(x[where], {name: slot[where] for name, slot in slots.items()}, shifts(nodes), orders)
        outcome = self._engine(chunk).run(chunk, in_place=True)
        if outcome.x is not chunk.x or not isinstance(where, slice):
            x[where] = outcome.x
        for name, slot in slots.items():
            if outcome.slots[name] is not chunk.slots[name] or not isinstance(where, slice):
                slot[where] = outcome.slots[name]
        return self._drill(orders, chunk, outcome)

    def _chunk(self, x: Tensor, slots: dict[str, Tensor], shift: Tensor | None, orders: Sequence[Order]) -> Chunk:
        data, steps, size = self.pool.train, orders[0].steps, self.pool.batch[orders[0].node]
        flat = torch.from_numpy(np.concatenate([self.pool.batches(o.node, o.key, o.first, steps) for o in orders]))
        shape = (len(orders), steps, size)
        return Chunk(
            x=x,
            slots=slots,
            shift=None if shift is None else shift[:, : self.model.num_weights],
            inputs=data.x.index_select(0, flat).view(*shape, *data.x.shape[1:]),
            targets=data.y.index_select(0, flat).view(*shape, *data.y.shape[1:]),
            lr=tuple(self.lr_at(order.node, order.round) for order in orders),
            weight=tuple(order.weight for order in orders),
            first=tuple(order.first for order in orders),
            noise=tuple(derive(order.key, "dropout") if self.model.draws else order.key for order in orders),
            still=self._still(orders),
            directions=self.directions,
        )

    def _still(self, orders: Sequence[Order]) -> Tensor | None:
        """(n, W): what is not learned yet at each node; None if all is."""
        if self.stillness is None:
            return None
        found = {round_: self.stillness.at(round_) for round_ in {order.round for order in orders}}
        if all(one is None for one in found.values()):
            return None
        none = torch.zeros(self.model.num_weights, dtype=torch.bool)
        rows = (found[order.round] for order in orders)
        return torch.stack([none if one is None else one for one in rows])

    def _engine(self, chunk: Chunk) -> Engine:
        """The engine, chosen on the first chunk that is large enough to tell."""
        if self.engine is None:
            self.engine = min(self._timed(chunk), key=lambda pair: pair[0])[1]
        return self.engine

    def _timed(self, chunk: Chunk) -> Iterator[tuple[float, Engine]]:
        """CPU seconds a node, those of all engines but the last with their margin."""
        for engine in self.candidates:
            part = chunk.head(engine.chunk)
            engine.run(part)
            times = []
            for _ in range(TRIALS):
                begun = self.clock()
                engine.run(part)
                times.append(self.clock() - begun)
            yield min(times) / len(part.x) * (MARGIN if engine is not self.candidates[-1] else 1.0), engine

    def _drill(self, orders: Sequence[Order], chunk: Chunk, outcome: Outcome) -> Drill:
        steps, samples = orders[0].steps, orders[0].steps * chunk.targets.shape[2]
        losses, norms = outcome.losses.tolist(), outcome.norms.double()
        told = norms.tolist()
        accuracy: list[float | None] = [None] * len(orders)
        if outcome.right is not None and self.pool.train.num_classes:
            seen = samples * self.pool.train.positions
            accuracy = [count / seen if seen else None for count in outcome.right.sum(1).tolist()]
        return Drill(
            orders=orders,
            directions=norms,
            loss=[self._loss_of(order, losses[i], told[i], chunk.lr[i]) for i, order in enumerate(orders)],
            work=[self.training.work(lr, steps) for lr in chunk.lr],
            accuracy=accuracy,
            samples=samples,
        )

    def _loss_of(self, order: Order, losses: list[float], norms: list[float], lr: float) -> float:
        try:
            return mean_loss(tuple(losses), tuple(norms), order.first, order.round, lr)
        except TrainingError as error:
            raise CannotTrain(order.node, str(error)) from None

    def evaluate(
        self, x: Tensor, nodes: Sequence[int], split: SplitName, slots: Mapping[str, Tensor] | None = None
    ) -> list[Evaluation]:
        engine = self.engine or self.candidates[-1]
        if split == "test" and nodes and self.pool.num_samples(nodes[0], split):
            parts = _parts(nodes, engine.chunk)
            return [r for part in parts for r in engine.judge(self._in_use(x, slots, part), self.pool.test)]
        one = self.candidates[-1]
        return [one.judge(self._in_use(x, slots, [node]), self.pool.of(node, split))[0] for node in nodes]

    def _in_use(self, x: Tensor, slots: Mapping[str, Tensor] | None, nodes: Sequence[int]) -> Tensor:
        return self.model.in_use(self.rows(x, slots, nodes))

    def rows(self, x: Tensor, slots: Mapping[str, Tensor] | None, nodes: Sequence[int]) -> Tensor:
        """The models (n, P) of some nodes."""
        return x[list(nodes)]


def _parts(nodes: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(nodes), size):
        yield list(nodes[start : start + size])
