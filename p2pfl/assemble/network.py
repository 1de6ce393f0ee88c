"""From configuration to running parts: the only room that knows all others. Follows names, and only local ones.

shared = assemble(network)                      # model, graph, rule, codec: what all machines agree on
node = shared.node("anna", signer, splits)      # one machine's Party and its work
host = node.http(store, listen, on_emit)        # or a SimHost over many nodes
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib import import_module
from typing import Any

import torch
from blake3 import blake3

from p2pfl import __version__
from p2pfl.assemble.pace import check_cells, check_rows, timetable_of, usual_mode
from p2pfl.assemble.parts import CODEC_NAMES, check_has, named, named_part
from p2pfl.assemble.private import check_grid, check_private, promise_of, shared_noise, terms_of
from p2pfl.assemble.training import alike, guard_of, judged, learner_of, phase_steps, plain_learner, training_of
from p2pfl.compress import CODECS, Codec, Int8
from p2pfl.config import NetworkConfig, PersonalConfig, TrainConfig
from p2pfl.config.adapting import check_adapting, factory_of, part_of, public_set
from p2pfl.config.distilling import DISTILL, asked_of, check_distill
from p2pfl.config.graph import load_graph
from p2pfl.config.identity import authorities_of, genesis_of, network_id
from p2pfl.core.ids import NodeId
from p2pfl.core.urls import NOWHERE
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import ConfigError
from p2pfl.horizontal.gossip import Gossip
from p2pfl.horizontal.model.work import GossipWork
from p2pfl.horizontal.plan import GROWTH, Batches, Plan
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood
from p2pfl.horizontal.terms.placing import Placing
from p2pfl.horizontal.terms.recipe import Mode, Recipe
from p2pfl.horizontal.terms.workflow import StopRule
from p2pfl.horizontal.valuing.manner import Manner
from p2pfl.horizontal.valuing.part import Valued
from p2pfl.horizontal.valuing.shown import Shown
from p2pfl.learn.data import SplitName, Splits
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.learner import Learner
from p2pfl.learn.names import resolve
from p2pfl.learn.part import KEPT, Part
from p2pfl.learn.public import Public
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.finality.events import Timing
from p2pfl.ledger.outcome.rules import add_rule
from p2pfl.membership.bounds import wide
from p2pfl.membership.record import Flag
from p2pfl.membership.shape import Attach, Shape
from p2pfl.membership.watch import Charter as Enlisted
from p2pfl.mixing import MIXERS, Cell, Mixer
from p2pfl.mixing.pairwise import Pairwise
from p2pfl.peer.door import Door
from p2pfl.peer.keeper import Charter, Keeper
from p2pfl.peer.peer import Peer
from p2pfl.peer.registrar import Registrar
from p2pfl.privacy.spending import Promise
from p2pfl.secagg.partition import Ground
from p2pfl.strategies import HONEST, Strategy
from p2pfl.topology.graphs.graph import Topology
from p2pfl.transfer.distill import Distill, Pupil, answers_schema, digest_of, digest_with
from p2pfl.transfer.personal import Personal, Personaliser
from p2pfl.wire import canonical
from p2pfl.wire.envelope import Signs
from p2pfl.wire.keyfile import Signer

SNAPSHOT_CODEC = Int8()
"""For the whole models that begin an edge's new epoch."""


@dataclass(frozen=True, eq=False)
class Node:
    """One machine's parts: give `party` and `work` to a host."""

    name: str
    party: Peer
    job: Gossip
    work: GossipWork
    splits: Splits


@dataclass(frozen=True, slots=True)
class Presence:
    """How one machine stands in its network. url: where others reach it, "none" for nowhere; None: as the document
    says. seeds: members and where they are, besides the listed ones. token: what admits it, if it is not listed."""

    url: str | None = None
    token: bytes = b""
    seeds: Mapping[NodeId, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Shared:
    """What all nodes of a network have in common, built from its document."""

    config: NetworkConfig
    model: FlatModel
    topology: Topology
    mixer: Mixer
    codec: Codec
    part: Part | None = None
    """What of the model travels; None: all of it."""
    public: Public | None = None
    alike: frozenset[NodeId] | None = None
    """Of one kind of node in a network of unlike models: who else is of it; None: all are."""
    kinds_start: tuple[bytes, ...] = ()
    """And the digests of the models that all kinds begin with."""
    given_genesis: Genesis | None = None
    """Instead of the one that the document names: a simulation's keys are its own."""

    @cached_property
    def genesis(self) -> Genesis | None:
        """The network's genesis document, if it has one. Raises ConfigError if it cannot be used."""
        return self.given_genesis or genesis_of(self.config)

    @cached_property
    def network(self) -> bytes:
        """The network's id: the digest of its genesis, or without one of its name and of who is in it."""
        return network_id(self.config, self.genesis)

    @cached_property
    def recipe(self) -> Recipe:
        config = self.config
        return Recipe(
            network=self.network,
            schema=self._common.digest,
            start=self._start_digest,
            topology=self._graph_digest,
            mixer=named(str(config.mix.rule), self.mixer) + self._weighed,
            codec=named(str(config.compress.codec), self.codec),
            mode=self.mode,
            rounds=config.pace.rounds,
            participants=config.pace.participants,
            terms=terms_of(config.privacy),
            public=b"" if self.public is None else self.public.digest,
        )

    @property
    def _start_digest(self) -> bytes:
        """What all begin with: the model; under distillation the public set, and the models averaged beside it."""
        if self.asked is None:
            return self.model.start_digest()
        assert isinstance(self.mixer, Distill)
        public = digest_of(self.asked)
        return digest_with(public, self._kinds_start) if self.mixer.weights else public

    @property
    def _kinds_start(self) -> tuple[bytes, ...]:
        if self.kinds_start:
            return self.kinds_start
        kinds = self._kinds_of_model
        return kinds[0].kinds_start if kinds else (self.model.start_digest(),)

    @property
    def _weighed(self) -> tuple[Any, ...]:
        """Who sums work beside models and who does not cannot sum together."""
        valuation = self.config.valuation
        return (("weighed", True),) if valuation.on and valuation.unit == "cell" else ()

    @cached_property
    def asked(self) -> torch.Tensor | None:
        """The examples that nodes of unlike models are asked about; None under other rules. Raises ConfigError."""
        return asked_of(self.config) if isinstance(self.mixer, Distill) else None

    @cached_property
    def said(self) -> ParamSchema:
        """Of what travels: the model's values or a part of them, or answers about the public examples, and behind
        them the model for nodes that have the same."""
        if self._says_model:
            assert self.asked is not None
            return answers_schema(len(self.asked), self.config.model.num_classes, self.schema)
        return self._common

    @property
    def _common(self) -> ParamSchema:
        """What goes between any two."""
        return self.schema if self.asked is None else answers_schema(len(self.asked), self.config.model.num_classes)

    @property
    def _says_model(self) -> bool:
        """Whether answers are not all that is said, since somebody has the same model."""
        weights = isinstance(self.mixer, Distill) and self.mixer.weights and not self.config.distill.models
        return weights and len(self._alike) > 1

    def _alike_with(self, name: str) -> frozenset[NodeId]:
        """Whom this node tells its model. One that is not listed has no kind that the others know of."""
        return self._alike if self._says_model and name in self.ids else frozenset()

    @property
    def _alike(self) -> frozenset[NodeId]:
        return frozenset(self.ids.values()) if self.alike is None else self.alike

    def of(self, name: str) -> "Shared":
        """The same for one node, with its own model where models are unlike. Raises ConfigError."""
        found = self.config.distill.models
        if not found or name not in self.ids:
            return self
        return self._kinds_of_model[list(self.ids).index(name) % len(found)]

    @cached_property
    def _kinds_of_model(self) -> "tuple[Shared, ...]":
        config, found = self.config, self.config.distill.models
        ids, made = list(self.ids.values()), []
        for model in found:
            own = replace(model, input_shape=config.model.input_shape, num_classes=config.model.num_classes)
            alone = replace(config, model=own, distill=replace(config.distill, models=()))
            place = (str(self.model.device), self.model.dtype, own.interpolate)
            flat = FlatModel(factory_of(alone.model), config.seed, *place)
            alike = frozenset(key for number, key in enumerate(ids) if found[number % len(found)] == model)
            made.append(replace(self, config=alone, model=flat, alike=alike))
        starts = tuple(kind.model.start_digest() for kind in made)
        return tuple(replace(kind, kinds_start=starts) for kind in made)

    @cached_property
    def mode(self) -> Mode:
        """The pace: as the document says, else what suits the rule."""
        if self.config.pace.mode is not None:
            return self.config.pace.mode
        return usual_mode(self.mixer)

    @cached_property
    def stop_rule(self) -> StopRule | None:
        """News travel one edge an exchange, and every edge is met once in as many rounds as there are colours."""
        pace, topology = self.config.pace, self.topology
        if pace.stop_at is None:
            return None
        pairs = self.mixer.needs == "pair"
        if topology.phases:
            spread = topology.news_rounds(pairs)
        else:
            spread = topology.diameter * max(len(topology.colouring()) if pairs else 1, 1)
        margin = spread * (1 if self.mode == "lockstep" else 4) + 1
        return StopRule(pace.stop_metric, pace.stop_at, margin)

    @cached_property
    def promise(self) -> Promise | None:
        """What every node promises with differential privacy, if it is asked for. ConfigError; may take seconds."""
        return promise_of(self.config)

    @cached_property
    def ids(self) -> dict[str, NodeId]:
        return {entry.name: entry.key for entry in self.config.nodes}

    @cached_property
    def members(self) -> tuple[NodeId, ...]:
        """All nodes, ascending."""
        return tuple(sorted(self.ids.values()))

    @property
    def schema(self) -> ParamSchema:
        """Of what travels."""
        return self.model.schema if self.part is None else self.part.schema

    def start(self) -> torch.Tensor:
        """Of what travels, the start."""
        x = self.model.start()
        return x if self.part is None else self.part.split(x)[0]

    def whole(self, x: torch.Tensor, slots: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """A node's whole model as it is used, from what travels and what its learner keeps."""
        return self.model.in_use(x if self.part is None else self.part.join(x, slots[KEPT]))

    def tensors(self, x: torch.Tensor, slots: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The same as a checkpoint's tensors by name, adapters merged."""
        return self.model.tensors(self.whole(x, slots))

    @cached_property
    def _placing(self) -> Placing:
        return Placing(self.topology, self.ids)

    def neighbourhood(self, name: str) -> Neighbourhood:
        """The place of a node in the graph."""
        return self._placing.of(name)

    @cached_property
    def _graph_digest(self) -> bytes:
        """Of the graph, and of how it follows from who is alive."""
        members = self.config.membership
        if not members.probe_s:
            return self.topology.digest
        text = canonical.packb([self.topology.digest, members.attach, members.attach_k])
        return blake3(b"p2pfl/shape/v1\0" + text).digest()

    @cached_property
    def shape(self) -> Shape | None:
        """How the graph follows from who is alive; None if nobody watches that."""
        config, members = self.config, self.config.membership
        if not members.probe_s:
            return None
        listed = {entry.key: entry.name for entry in config.nodes}
        attach = Attach(members.attach, members.attach_k)
        if config.topology.family is None:
            return Shape(listed, declared=self.topology, attach=attach)
        return Shape(listed, build=partial(load_graph, config.topology), attach=attach)

    def registrar(self, signer: Signer, url: str, presence: Presence) -> Registrar | None:
        """What watches the members for one node, if the network wants that."""
        members = self.config.membership
        if not members.probe_s:
            return None
        where = {entry.key: entry.url for entry in self.config.nodes} | dict(presence.seeds)
        charter = Enlisted(
            network=self.network,
            urls=() if url == NOWHERE else (url,),
            seeds={key: () if at == NOWHERE else (at,) for key, at in where.items() if key != signer.node},
            listed=frozenset(self.ids.values()),
            mode=members.admission,
            authorities=authorities_of(self.config, self.genesis),
            token=presence.token,
            certificate=signer.certificate().digest if url.startswith("https://") else b"",
            software=f"p2pfl {__version__}",
            flags=Flag(0) if url == NOWHERE else Flag.LISTENS,
            pace=wide(members.probe_s),
        )
        return Registrar(charter, signer)

    @cached_property
    def ground(self) -> Ground | None:
        """What the rule "cell" draws its cells from."""
        if not isinstance(self.mixer, Cell):
            return None
        ids = self.ids
        around = {ids[n]: tuple(sorted(ids[o] for o in self.topology.neighbours(n))) for n in self.topology.nodes}
        return Ground(around, self.mixer.size, self.mixer.scope)

    def _place(self, name: str, key: NodeId) -> Neighbourhood:
        return self.neighbourhood(name) if name in self.ids else self._meeting(name, key)

    def _meeting(self, name: str, key: NodeId | None = None) -> Neighbourhood:
        """The same place, with all whom the rule may make it meet. `key`: of a node that is not listed; it has no
        neighbours until it has seen who is there."""
        if name not in self.ids and key is not None:
            return Placing(Topology((name,), frozenset()), {name: key}).of(name)
        nb = self.neighbourhood(name)
        if self.ground is None:
            return nb
        return replace(nb, neighbours=tuple(sorted(self.ground.contacts(nb.me))), ground=self.ground)

    def node(
        self,
        name: str,
        signer: Signer,
        splits: Splits,
        train: TrainConfig | None = None,
        wall_ms_at_zero: int = 0,
        presence: Presence | None = None,
        strategy: Strategy = HONEST,
        personal: PersonalConfig | None = None,
    ) -> Node:
        """The Party of one machine. `splits` is its data, `train` and `personal` its own settings if it has any;
        `strategy` is for trials of incentives.

        `wall_ms_at_zero`: milliseconds since 1970 at the moment that its host's clock counts from.
        """
        if self.config.distill.models and name in self.ids:
            return self.of(name).node(name, signer, splits, train, wall_ms_at_zero, presence, strategy, personal)
        config, train, presence = self.config, train or self.config.train, presence or Presence()
        if name in self.ids and signer.node != self.ids[name]:
            raise ConfigError(
                f"the key of {name!r} in {config.path.name} is {self.ids[name].hex()}, "
                f"and the key file holds {signer.node.hex()}"
            )
        check_private(config.privacy, train, len(splits.train))
        splits = strategy.splits(splits)
        work = strategy.work(self.work(splits, train))
        samples = {part: len(splits[part]) for part in splits.names}
        plan = self.plan(name, samples, train, signer.node, strategy, wall_ms_at_zero)
        job = Gossip(plan, work, self.personaliser(splits, train, personal))
        keeper = self.keeper(signer, self._place(name, signer.node), wall_ms_at_zero, strategy)
        registrar = self.registrar(signer, presence.url or config.node(name).url, presence)
        follows = plan.valued is not None
        heard = frozenset(self.members if follows else plan.nb.neighbours) - {signer.node}
        door = Door(signer.node, self.network, heard, self._kinds())
        place = (signer, self.network, self.recipe.digest, plan.nb.neighbours)
        peer = Peer(*place, job, name, keeper, door, registrar, follows=follows)
        return Node(name, peer, job, work, splits)

    def _kinds(self) -> Mapping[str, Callable[[list[Any]], Any]]:
        """Messages beside those of every gossip."""
        shown = {Shown.KIND: Shown.from_fields} if self.config.valuation.on else {}
        if self.ground is None:
            return shown
        cell: Any = import_module("p2pfl.secagg.statements").CellMessage
        salt: Any = import_module("p2pfl.secagg.salt").SaltMessage
        return shown | {message.KIND: message.from_fields for message in (cell, salt)}

    def keeper(
        self, signer: Signs, nb: Neighbourhood, wall_ms_at_zero: int, strategy: Strategy = HONEST
    ) -> Keeper | None:
        """What keeps one node's ledger, if the network has one."""
        if self.genesis is None:
            return None
        timing = Timing(interval_s=self.config.ledger.interval_s)
        charter = Charter(self.genesis, nb.members, timing, wall_ms_at_zero, nb.around, strategy.forge)
        return Keeper(charter, signer, nb.neighbours)

    def work(self, splits: Splits, train: TrainConfig) -> GossipWork:
        """What computes for one node."""
        learner, guard = self.learner(splits, train), guard_of(train)
        if isinstance(self.mixer, Distill):
            return GossipWork(learner, self.codec, self._pupil(self.mixer), SNAPSHOT_CODEC, guard, self.said)
        return GossipWork(learner, self.codec, self.mixer, SNAPSHOT_CODEC, guard)

    def _pupil(self, rule: Distill) -> Pupil:
        """With a model of its own: exchanges are computed beside training."""
        assert self.asked is not None
        flat = FlatModel(factory_of(self.config.model), self.config.seed, str(self.model.device), self.model.dtype)
        return Pupil(rule, flat, self.asked, self._says_model)

    def learner(self, splits: Splits, train: TrainConfig) -> Learner:
        """What trains at one node."""
        config = self.config
        training = training_of(alike(train, config.train, self.mixer), config.pace.rounds, self.public)
        return learner_of(train, self.model, splits, training, config.privacy, self.promise, self.part)

    def personaliser(
        self, splits: Splits, train: TrainConfig, personal: PersonalConfig | None = None
    ) -> Personaliser | None:
        """What makes one node's own copy, if that is asked for; in the clear, since it never leaves the node."""
        settings = self.config.personal if personal is None else personal
        if not settings.steps:
            return None
        if self.part is not None:
            raise ConfigError("personal.steps: with model.share a part is its own already; set one of the two")
        learner = plain_learner(train, self.model, splits, training_of(train, self.config.pace.rounds, self.public))
        tuning = Personal(settings.steps, settings.look, settings.patience, settings.lr, settings.prior)
        return Personaliser(learner, self.model, splits, tuning)

    def plan(
        self,
        name: str,
        samples: Mapping[SplitName, int],
        train: TrainConfig,
        key: NodeId | None = None,
        strategy: Strategy = HONEST,
        wall_ms_at_zero: int = 0,
    ) -> Plan:
        """What one node's gossip job is to do; `samples` of its own it has in each part. `key`: its own."""
        config, noise = self.config, shared_noise(self.config, self.promise)
        if noise is not None:
            assert isinstance(self.mixer, Cell)
            check_grid(noise, self.mixer, self.schema.size)
        return Plan(
            recipe=self.recipe,
            nb=self._meeting(name, key),
            steps=phase_steps(train, samples["train"]),
            timeout_s=config.pace.timeout_s,
            gather_s=config.pace.gather_s,
            window=config.pace.window,
            eval_every=config.pace.evaluate,
            codec_name=str(config.compress.codec),
            participants=config.pace.participants,
            weigh_samples=train.weighting == "samples",
            closing=config.pace.closing,
            stop=self.stop_rule,
            splits=judged(samples),
            promise=self.promise,
            staleness=config.pace.staleness,
            seconds=train.seconds,
            batches=self._batches(train),
            alike=self._alike_with(name) if self.asked is not None else None,
            timetable=timetable_of(train, self.mode, wall_ms_at_zero),
            noise=noise,
            shape=self.shape,
            valued=valued_of(self, key or self.ids[name], samples, strategy.manner),
        )

    def _batches(self, train: TrainConfig) -> Batches | None:
        """Of no machine's choice where a promise or a number of passes depends on them."""
        if self.promise is not None or train.epochs is not None:
            return None
        high = train.batch_max or (train.batch_size * (GROWTH if train.seconds is not None else 1))
        return Batches(train.batch_size, train.batch_min, high)


def valued_of(shared: Shared, me: NodeId, samples: Mapping[SplitName, int], manner: Manner) -> Valued | None:
    """How the node's work is valued, if it is. Raises ConfigError where it cannot be."""
    config, valuation = shared.config, shared.config.valuation
    if not valuation.on:
        return None
    if valuation.unit == "cell":
        _check_cells_valued(shared)
    elif isinstance(shared.mixer, Cell):
        raise ConfigError(
            'valuation.on: with mix.rule "cell" nobody sees what one node did, so nobody can say what it was worth; '
            'score cells as one with valuation.unit = "cell", or turn one of the two off'
        )
    elif not isinstance(shared.mixer, Pairwise):
        raise ConfigError(f'valuation.on: expected mix.rule "pairwise", got {str(config.mix.rule)!r}')
    if shared.genesis is None:
        raise ConfigError("valuation.on: scores are kept in the ledger: set ledger.genesis; make one: p2pfl genesis")
    if config.privacy.unit != "none" and valuation.split == "validation":
        raise ConfigError(
            'valuation.split: with [privacy], scores made on a node\'s own examples would tell of them: expected "test"'
        )
    if not samples[valuation.split]:
        raise ConfigError(f"valuation.split: this node has no {valuation.split} examples to try updates on")
    heights, share = shared.genesis.window, valuation.share
    gtg = valuation.estimator == "gtg"
    return Valued(
        me, shared.recipe.digest, shared.members, heights, share, valuation.split, gtg, manner, valuation.keep
    )


def _check_cells_valued(shared: Shared) -> None:
    """Whether what cells do together can be summed besides their models. Raises ConfigError."""
    config, rule = shared.config, shared.mixer
    if not isinstance(rule, Cell):
        raise ConfigError(f'valuation.unit: cells are scored with mix.rule "cell", got {str(config.mix.rule)!r}')
    if config.privacy.unit != "none":
        raise ConfigError(
            "valuation.unit: with [privacy] the sum of a cell's work would say once more what its noise was paid for; "
            "turn valuation or privacy off"
        )
    if rule.bits != 32:
        raise ConfigError(
            f"valuation.unit: a grid of {rule.bits} bits is too coarse for a cell's work: set mix.bits = 32"
        )


def assemble(
    config: NetworkConfig,
    device: str | None = None,
    dtype: torch.dtype = torch.float32,
    genesis: Genesis | None = None,
) -> Shared:
    """Build what the network document names; `genesis` replaces the one that it names.

    Raises ConfigError, in one line, for what cannot be built.
    """
    if not config.nodes:
        raise ConfigError(f"{config.path}: expected at least one [[nodes]]; add one with: p2pfl network add")
    for own in config.ledger.rules:
        add_rule(resolve(own, config.path.parent))
    topology = load_graph(config.topology, [entry.name for entry in config.nodes])
    check_adapting(config)
    model = FlatModel(factory_of(config.model), config.seed, device, dtype, config.model.interpolate)
    part = part_of(config.model, model.schema)
    public = public_set(config.public, config.model.input_shape, config.seed)
    mixer = named_part(config.mix.rule, MIXERS | {DISTILL: Distill}, "mix.rule", config.mix.params)
    check_distill(config, mixer)
    codec = named_part(config.compress.codec, CODECS, "compress.codec", config.compress.params)
    check_has(codec, CODEC_NAMES, f"compress.codec {str(config.compress.codec)!r}")
    check_has(mixer, ("needs", "init", "mix"), f"mix.rule {str(config.mix.rule)!r}")
    if mixer.needs == "pair" and config.pace.mode == "semi_sync":
        raise ConfigError('pace.mode "semi_sync" is for rules of whole neighbourhoods: set "async", or leave it out')
    if mixer.needs == "rows":
        check_rows(mixer, config, model.schema if part is None else part.schema, topology)
    if isinstance(mixer, Cell):
        check_cells(mixer, codec, config, topology)
    return Shared(config, model, topology, mixer, codec, part, public, given_genesis=genesis)
