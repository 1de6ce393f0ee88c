"""A Flower NumPyClient as a Learner. Knows get_parameters, fit and evaluate; never imports Flower.

A client keeps its own data, model and loop; what a node needs of it is that `fit` goes from given parameters to better
ones. One local step is one `fit`. With f(x) what it makes of x, s the schedule's factor, w the node's weight, z the
drift correction:

    x <- x + s w (f(x) - x) - lr s z;   work += lr s

`lr` is a unit only: [train] lr is what a direction is divided by, at all nodes alike. What travels is every array of
floats in `get_parameters`; arrays of whole numbers (batch norm counts its batches) stay at home as they began.

Each client is made by the caller's function, under the network's seed, so that all begin with the same parameters. What
`fit` draws from torch's, numpy's and Python's generators is drawn under a seed from the node's key and the number of
the step, and the generators are put back after it: the same call gives the same result.

No sample reaches p2pfl: a node's "data" are its number alone, one row.
"""

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Parameter, signature
from math import isfinite
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from p2pfl.core.limits import NODES_MAX
from p2pfl.core.noise import Key, derive, seed64
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import ConfigError, TrainingError
from p2pfl.learn.data import Data, SplitName, Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import NotPooled
from p2pfl.learn.optim import OptState
from p2pfl.learn.training import Evaluation, Trained, Training

Arrays = list[NDArray[Any]]
METHODS = ("get_parameters", "fit", "evaluate")


class Parameters(nn.Module):
    """The arrays that travel, as a module without a forward pass: only the client knows what they mean.

    buffers: which of them are averaged and never drift-corrected, as a batch norm's statistics must be.
    """

    def __init__(self, arrays: Sequence[NDArray[Any]], buffers: Collection[int] = ()) -> None:
        super().__init__()
        for number, array in enumerate(arrays):
            if array.dtype.kind != "f":
                continue
            values = torch.tensor(array, dtype=torch.float32)
            if number in buffers:
                self.register_buffer(f"array_{number}", values)
            else:
                self.register_parameter(f"array_{number}", nn.Parameter(values))

    def forward(self, x: Tensor) -> Tensor:
        raise ConfigError("a Flower client keeps its model to itself: it can be trained and judged, not asked")


@dataclass(frozen=True)
class Clients:
    """Makes clients by the caller's function or class, which has no parameter, one (a number), or Flower's context.

    config: what `fit` and `evaluate` get as their second argument, besides "server_round". partitions: "num-partitions"
    of a context.
    """

    make: Callable[..., Any]
    config: Mapping[str, Any]
    partitions: int | None = None

    def client(self, number: int) -> Any:
        """The client of node `number`. Raises ConfigError if it is none."""
        wanted = parameters_of(self.make)
        if len(wanted) > 1:
            raise ConfigError(f"{self.name}: expected a function of the node's number, got one of {', '.join(wanted)}")
        asked = [self._context(number) if name == "context" else number for name in wanted]
        client = self.make(*asked)
        client = getattr(client, "numpy_client", client)  # what NumPyClient.to_client() wraps
        missing = [name for name in METHODS if not hasattr(client, name)]
        if missing:
            raise ConfigError(f"{self.name}: expected a client with {', '.join(METHODS)}; {missing[0]} is missing")
        return client

    def parameters(self) -> nn.Module:
        """The start of every node: the parameters of client 0 under the generators' seeds of this moment."""
        with seeded(int(torch.randint(1 << 31, ()))):
            client = self.client(0)
            arrays = own_parameters(client, self.name)
        if not any(array.dtype.kind == "f" for array in arrays):
            raise ConfigError(f"{self.name}: expected at least one array of floats from get_parameters")
        return Parameters(arrays, buffers_among(arrays, client))

    def learner(self, model: FlatModel, splits: Splits, training: Training) -> "ClientLearner":
        return ClientLearner(model, splits, training, self)

    @property
    def name(self) -> str:
        return getattr(self.make, "__name__", type(self.make).__name__)

    def _context(self, number: int) -> SimpleNamespace:
        node = {"partition-id": number} | ({"num-partitions": self.partitions} if self.partitions else {})
        return SimpleNamespace(node_id=number, node_config=node, run_config=dict(self.config), state=None)


class ClientLearner:
    """One node's client. Its number is the one row of its data."""

    def __init__(self, model: FlatModel, splits: Splits, training: Training, clients: Clients) -> None:
        self.model, self.training, self.clients = model, training, clients
        self._splits = splits
        if len(splits.train) != 1:
            raise NotPooled(
                f"{clients.name}: expected one client a node, got {len(splits.train)}: each has its own data"
            )
        self._client = clients.client(int(splits.train.x.reshape(-1)[0]))
        self._own = own_parameters(self._client, clients.name)
        self._places = [f"array_{number}" for number, array in enumerate(self._own) if array.dtype.kind == "f"]
        shapes = {name: self._own[_number(name)].shape for name in self._places}
        if shapes != {spec.name: spec.shape for spec in model.schema.params}:
            raise ConfigError(f"{clients.name}: expected arrays of the same shapes from every client's get_parameters")

    @property
    def schema(self) -> ParamSchema:
        return self.model.schema

    def start(self) -> Tensor:
        return self.model.start()

    def start_digest(self) -> bytes:
        return self.model.start_digest()

    def init(self, x: Tensor) -> OptState:
        return OptState()

    def lr_at(self, round: int) -> float:
        return self.training.lr * self.training.schedule(round / self.training.num_rounds)

    def num_samples(self, split: SplitName) -> int:
        return len(self._splits[split])

    def train(
        self, x: Tensor, state: OptState, shift: Tensor | None, steps: int, round: int, key: Key, weight: float = 1.0
    ) -> Trained:
        factor, lr = self.training.schedule(round / self.training.num_rounds), self.lr_at(round)
        now, norms, losses = x.detach().cpu(), [], []
        for step in range(state.steps, state.steps + steps):
            with seeded(seed64(derive(key, "client", step))):
                given = {**self.clients.config, "server_round": round + 1}
                fitted, _, told = self._ask("fit", now, given)
            moved = (self._vector(fitted) - now) * (factor * weight)
            norms.append(float(moved.norm()) / lr)
            if not isfinite(norms[-1]):
                raise TrainingError(f"round {round}, step {step}: fit gave numbers that are not finite")
            losses.append(_loss_in(told))
            now = now + moved
            if shift is not None:
                now[: self.model.num_weights] -= lr * shift[: self.model.num_weights].cpu()
        return Trained(
            x=now.to(x),
            state=OptState(state.steps + steps, state.slots),
            work=lr * steps,
            directions=tuple(norms),
            loss=sum(losses) / len(losses) if losses else 0.0,
            samples=steps,
            accuracy=None,
        )

    def evaluate(self, x: Tensor, split: SplitName) -> Evaluation:
        """What the client says of the model. Its data are its own, so every part of them is the same."""
        with seeded(0):
            loss, _, told = self._ask("evaluate", x.detach().cpu(), dict(self.clients.config))
        accuracy = told.get("accuracy", told.get("acc")) if isinstance(told, Mapping) else None
        return Evaluation(float(loss), None if accuracy is None else float(accuracy), self.num_samples(split))

    def _ask(self, what: str, x: Tensor, config: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """fit or evaluate. Raises TrainingError, in one line, whatever the client raises or answers."""
        name = f"{self.clients.name}.{what}"
        try:
            answer = getattr(self._client, what)(self._arrays(x), config)
        except Exception as error:
            raise TrainingError(f"{name} failed: {type(error).__name__}: {' '.join(str(error).split())}") from error
        if not isinstance(answer, tuple) or len(answer) != 3:
            raise TrainingError(f"{name}: expected three values, got {type(answer).__name__}")
        return answer

    def _arrays(self, x: Tensor) -> Arrays:
        """x (P,) as the client knows it: its own shapes and dtypes, in its own order."""
        pieces = self.schema.unflatten(x)
        arrays = [own.copy() for own in self._own]
        for name in self._places:
            arrays[_number(name)][...] = pieces[name].numpy()
        return arrays

    def _vector(self, arrays: Any) -> Tensor:
        found = as_arrays(arrays, self.clients.name)
        if [a.shape for a in found] != [own.shape for own in self._own]:
            raise TrainingError(f"{self.clients.name}: expected arrays of the same shapes from fit as it was given")
        moving = [found[_number(spec.name)].astype(np.float32).reshape(-1) for spec in self.schema.params]
        return torch.from_numpy(np.concatenate(moving))


def numbers() -> Data:
    """The data of a network of clients: a row for every number that a node may have."""
    x = torch.arange(NODES_MAX, dtype=torch.float32).reshape(-1, 1)
    return Data(x, torch.zeros(NODES_MAX), "clients")


def one_each(data: Data, num_nodes: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Node i gets row i."""
    return [np.array([i]) for i in range(num_nodes)]


def parameters_of(make: Callable[..., Any]) -> list[str]:
    """Names of what the function must be given; "context" for what Flower calls one."""
    needed = [
        p for p in signature(make).parameters.values() if p.default is p.empty and p.kind is not Parameter.VAR_KEYWORD
    ]
    needed = [p for p in needed if p.kind is not Parameter.VAR_POSITIONAL]
    return ["context" if "Context" in str(p.annotation) or p.name == "context" else p.name for p in needed]


def own_parameters(client: Any, name: str) -> Arrays:
    return as_arrays(client.get_parameters({}), name)


def buffers_among(arrays: Arrays, client: Any) -> frozenset[int]:
    """Which arrays are a module's buffers: where the client has a module whose state these are, one by one."""
    for module in (value for value in vars(client).values() if isinstance(value, nn.Module)):
        state, weights = module.state_dict(), {name for name, _ in module.named_parameters(remove_duplicate=False)}
        if [tuple(value.shape) for value in state.values()] == [array.shape for array in arrays]:
            return frozenset(number for number, name in enumerate(state) if name not in weights)
    return frozenset()


def as_arrays(given: Any, name: str) -> Arrays:
    if not isinstance(given, list | tuple):
        raise ConfigError(f"{name}: expected a list of arrays, got {type(given).__name__}")
    arrays = [np.asarray(array) for array in given]
    for array in arrays:
        if array.dtype.kind not in "fiub":
            raise ConfigError(f"{name}: expected arrays of numbers, got {array.dtype}")
    return arrays


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's, numpy's and Python's generators under a seed within, and as they were afterwards."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed % (1 << 32))
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def _number(name: str) -> int:
    return int(name.removeprefix("array_"))


def _loss_in(told: Any) -> float:
    """The training loss, if the client tells it under a usual name."""
    for name in ("train_loss", "loss"):
        if isinstance(told, Mapping) and name in told:
            return float(told[name])
    return 0.0
