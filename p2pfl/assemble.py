"""From configuration to running parts: the only file that knows all rooms. Follows names, and only local ones.

shared = assemble(network)                      # model, graph, rule, codec: what all machines agree on
node = shared.node("anna", signer, splits)      # one machine's Party and its work
host = node.http(store, listen, on_emit)        # or a SimHost over many nodes
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import torch
from blake3 import blake3

from p2pfl.compress import CODECS, Codec, Int8
from p2pfl.config import DataConfig, NetworkConfig, TrainConfig
from p2pfl.config.graph import load_graph
from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive, root
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import ConfigError
from p2pfl.horizontal.gossip import Gossip, Plan
from p2pfl.horizontal.neighbourhood import Neighbourhood
from p2pfl.horizontal.recipe import Recipe
from p2pfl.horizontal.work import GossipWork
from p2pfl.horizontal.workflow import StopRule
from p2pfl.learn import datasets, models
from p2pfl.learn.data import Held, SplitName, Splits, hold_out, split
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import TorchLearner, Training
from p2pfl.learn.names import call, find
from p2pfl.learn.optim import OPTIMIZERS, Optimizer
from p2pfl.learn.partition import partition
from p2pfl.learn.schedule import SCHEDULES, Schedule
from p2pfl.mixing import MIXERS, Average, Pairwise
from p2pfl.peer.peer import Peer
from p2pfl.privacy import ClipAndNoise
from p2pfl.topology.graph import Topology
from p2pfl.wire import canonical
from p2pfl.wire.envelope import Signs


@dataclass(frozen=True, eq=False)
class Node:
    """One machine's parts: give `party` and `work` to a host."""

    name: str
    party: Peer
    job: Gossip
    work: GossipWork
    splits: Splits


@dataclass(frozen=True, eq=False)
class Shared:
    """What all nodes of a network have in common, built from its document."""

    config: NetworkConfig
    model: FlatModel
    topology: Topology
    mixer: Pairwise | Average
    codec: Codec

    @cached_property
    def network(self) -> bytes:
        """The network's id: a digest of its name and of who is in it."""
        members = sorted([entry.key, entry.name] for entry in self.config.nodes)
        return blake3(b"p2pfl/network/v1\0" + canonical.packb([self.config.name, members])).digest()

    @cached_property
    def recipe(self) -> Recipe:
        config = self.config
        return Recipe(
            network=self.network,
            schema=self.model.schema.digest,
            start=self.model.start_digest(),
            topology=self.topology.digest,
            mixer=_named(str(config.mix.rule), self.mixer),
            codec=_named(str(config.compress.codec), self.codec),
            mode=config.pace.mode,
            rounds=config.pace.rounds,
            participants=config.pace.participants,
        )

    @cached_property
    def stop_rule(self) -> StopRule | None:
        """News travel one edge an exchange, and every edge is met once in as many rounds as there are colours."""
        pace = self.config.pace
        if pace.stop_at is None:
            return None
        period = len(self.topology.colouring()) if self.mixer.needs == "pair" else 1
        margin = self.topology.diameter * max(period, 1) * (1 if pace.mode == "lockstep" else 4) + 1
        return StopRule(pace.stop_metric, pace.stop_at, margin)

    @cached_property
    def ids(self) -> dict[str, NodeId]:
        return {entry.name: entry.key for entry in self.config.nodes}

    @property
    def schema(self) -> ParamSchema:
        return self.model.schema

    def neighbourhood(self, name: str) -> Neighbourhood:
        """The place of a node in the graph."""
        topology, ids = self.topology, self.ids
        weights = topology.weights()[name]
        partners: list[NodeId | None] = []
        for matching in topology.colouring():
            ends = [b if a == name else a for a, b in matching if name in (a, b)]
            partners.append(ids[ends[0]] if ends else None)
        return Neighbourhood(
            me=ids[name],
            neighbours=tuple(sorted(ids[other] for other in topology.neighbours(name))),
            weights={ids[other]: weights[other] for other in topology.neighbours(name)},
            degree_median=float(median(topology.degree(n) for n in topology.nodes)),
            partners=tuple(partners),
            members=tuple(sorted(ids.values())),
            diameter=topology.diameter,
        )

    def node(self, name: str, signer: Signs, splits: Splits, train: TrainConfig | None = None) -> Node:
        """The Party of one machine. `splits` is its data, `train` its own training settings if it has any."""
        config, train = self.config, train or self.config.train
        if signer.node != self.ids[name]:
            raise ConfigError(
                f"the key of {name!r} in {config.path.name} is {self.ids[name].hex()}, "
                f"and the key file holds {signer.node.hex()}"
            )
        learner = TorchLearner(self.model, splits, training_of(train, config.pace.rounds))
        work = GossipWork(learner, self.codec, self.mixer, Int8(), _guard(train))
        plan = Plan(
            recipe=self.recipe,
            nb=self.neighbourhood(name),
            steps=_phase_steps(train, len(splits.train)),
            timeout_s=config.pace.timeout_s,
            gather_s=config.pace.gather_s,
            window=config.pace.window,
            eval_every=config.pace.evaluate,
            codec_name=str(config.compress.codec),
            participants=config.pace.participants,
            weigh_samples=train.weighting == "samples",
            closing=config.pace.closing,
            stop=self.stop_rule,
            splits=_judged(splits),
        )
        job = Gossip(plan, work)
        peer = Peer(signer, self.network, self.recipe.digest, plan.nb.neighbours, job, name)
        return Node(name, peer, job, work, splits)


def assemble(config: NetworkConfig, device: str | None = None, dtype: torch.dtype = torch.float32) -> Shared:
    """Build what the network document names. Raises ConfigError, in one line, for what cannot be built."""
    if not config.nodes:
        raise ConfigError(f"{config.path}: expected at least one [[nodes]]; add one with: p2pfl network add")
    topology = load_graph(config.topology, [entry.name for entry in config.nodes])
    factory = models.build(
        config.model.name,
        config.model.name.folder,
        config.model.input_shape,
        config.model.num_classes,
        config.model.args,
    )
    model = FlatModel(factory, config.seed, device, dtype)
    mixer = _part(config.mix.rule, MIXERS, "mix.rule", config.mix.params)
    codec = _part(config.compress.codec, CODECS, "compress.codec", config.compress.params)
    return Shared(config, model, topology, mixer, codec)


def training_of(train: TrainConfig, rounds: int) -> Training:
    """The learner's settings."""
    return Training(rounds, train.batch_size, train.lr, _optimizer(train), _schedule(train))


# ------------------------------------------------------------------------------------------------ data


def load_held(data: DataConfig, seed: int) -> Held:
    """The data set that a document names, its common test set held out."""
    source = datasets.load(str(data.source), data.source.folder, data.source_args)
    return hold_out(source, data_key(seed), data.test_fraction)


def shares_of(held: Held, data: DataConfig, num_nodes: int, seed: int) -> list[torch.Tensor]:
    """Row numbers of each node's share, in the order of the network's nodes."""
    by = data.partition.by
    return partition(str(by), held.train, num_nodes, data_key(seed), by.folder, data.partition.params)


def splits_of(held: Held, rows: torch.Tensor, data: DataConfig, seed: int, index: int) -> Splits:
    return split(held.train, rows, held.test, derive(data_key(seed), "split", index), data.validation_fraction)


def node_splits(data: DataConfig, config: NetworkConfig) -> Splits:
    """One machine's data: its share `index` of the network's data set, or all of a source of its own."""
    held = load_held(data, config.seed)
    if data.index is None:
        rows, index = torch.arange(len(held.train)), 0
    else:
        shares = shares_of(held, data, len(config.nodes), config.seed)
        if data.index >= len(shares):
            raise ConfigError(f"data.index: expected 0 to {len(shares) - 1}, got {data.index}")
        rows, index = shares[data.index], data.index
    return splits_of(held, rows, data, config.seed, index)


def data_key(seed: int) -> Key:
    return derive(root(seed), "data")


# ------------------------------------------------------------------------------------------------ parts by name


def _part(name: Any, table: Mapping[str, Callable[..., Any]], what: str, params: Mapping[str, Any]) -> Any:
    """A rule or codec by its short name or `module:attribute`, with its parameters."""
    try:
        return call(find(str(name), table, what, name.folder), params, f"{what} {str(name)!r}")
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _named(name: str, part: Any) -> tuple[Any, ...]:
    """A part for the recipe: its name (not where a machine keeps the file) and the values of its fields."""
    values = [[f.name, _plain(getattr(part, f.name))] for f in fields(part)]
    return (name.rpartition(":")[2], values)


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else repr(value)


def _optimizer(train: TrainConfig) -> Optimizer:
    found = find(train.optimizer, OPTIMIZERS, "optimizer", Path())
    made: Optimizer = call(found, train.optimizer_args, f"optimizer {train.optimizer!r}")
    return made


def _schedule(train: TrainConfig) -> Schedule:
    kind = train.schedule.kind
    made: Schedule = call(find(kind, SCHEDULES, "schedule", Path()), train.schedule.params, f"schedule {kind!r}")
    return made


def _phase_steps(train: TrainConfig, samples: int) -> int:
    if train.steps is not None:
        return train.steps
    assert train.epochs is not None
    return max(1, ceil(train.epochs * samples / min(train.batch_size, samples)))


def _guard(train: TrainConfig) -> ClipAndNoise | None:
    if train.clip_norm is None:
        if train.noise:
            raise ConfigError("train.noise: needs train.clip_norm, since unclipped updates have no bounded influence")
        return None
    return ClipAndNoise(train.clip_norm, train.noise)


def _judged(splits: Splits) -> tuple[SplitName, ...]:
    """The parts that there is something in; the training part if nothing was held out."""
    names: tuple[SplitName, ...] = ("validation", "test")
    return tuple(name for name in names if len(splits[name])) or ("train",)
