"""Who trains the nodes of a dense run and what it holds of each, for all nodes together and for a shard of them."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from time import process_time
from typing import Any

import torch

from p2pfl.assemble.network import SNAPSHOT_CODEC, Shared
from p2pfl.assemble.private import check_private
from p2pfl.assemble.splits import rows_of, splits_of
from p2pfl.assemble.training import guard_of, learner_of, training_of
from p2pfl.core.ids import NodeId
from p2pfl.core.limits import CHUNK_BYTES, HTTP_REPLY_BYTES, HTTP_REQUEST_BYTES
from p2pfl.core.noise import Key, derive, gaussian, root
from p2pfl.errors import ConfigError
from p2pfl.horizontal.model.algorithm import encode_vectors
from p2pfl.horizontal.records.edge import next_epoch
from p2pfl.horizontal.terms.averages import Averages
from p2pfl.horizontal.terms.progress import Progress
from p2pfl.hosts.dense import Cell, DenseSetting
from p2pfl.learn.crew import Learners
from p2pfl.learn.data import Held, Splits
from p2pfl.learn.part_crew import PartCrew
from p2pfl.learn.pool import Pool
from p2pfl.learn.stacked import EngineName, TorchCrew
from p2pfl.mixing.cell import Cell as CellRule
from p2pfl.mixing.pairwise import Pairwise
from p2pfl.secagg.beacon import context_of, honest_value, secret_of
from p2pfl.wire.envelope import DIGEST_BYTES, HEAD_FIXED_BYTES, seal_digested
from p2pfl.wire.messages import Edge, Message, Row, Section, Update

EXCHANGE_VALUES = 160_000
EXCHANGE_MAX = 64
"""Values, and nodes, that are exchanged at once: what stays in a core's cache meanwhile."""


def crew_of(
    shared: Shared,
    held: Held,
    shares: Sequence[torch.Tensor],
    engine: EngineName,
    chunk: int | None,
    numbers: Sequence[int] | None = None,
) -> TorchCrew | Learners:
    """Who trains: the built-in learner over all nodes at once, or one learner of the user's own a node.

    numbers: of the nodes that are trained here, by row; all of them if None. Raises ConfigError.
    """
    config, data = shared.config, shared.config.data
    parts_of = [(index, shares[index]) for index in (range(len(shares)) if numbers is None else numbers)]
    private = config.privacy.unit != "none"
    if str(config.train.learner) != "torch" or private:
        if engine != "auto":
            what = "[privacy] trains node by node" if private else f"train.learner is {str(config.train.learner)!r}"
            raise ConfigError(f"train engine {engine!r}: {what}; use 'auto'")
        splits = [splits_of(held, rows, data, config.seed, index) for index, rows in parts_of]
        for own in splits:
            check_private(config.privacy, config.train, len(own.train))
        return Learners([shared.learner(own, config.train) for own in splits])
    parts = [rows_of(held, rows, data, config.seed, index) for index, rows in parts_of]
    train, test = (part.to(shared.model.device, shared.model.dtype) for part in (held.train, held.test))
    pool = Pool(train, test, [own for own, _ in parts], [kept for _, kept in parts], config.train.batch_size)
    training = training_of(config.train, config.pace.rounds, shared.public)
    learner_of(config.train, shared.model, pool.splits(0), training)  # says what does not fit
    crew = (shared.model, pool, training, engine, chunk, isinstance(shared.mixer, Pairwise), process_time)
    return TorchCrew(*crew) if shared.part is None else PartCrew(shared.part, *crew)


def cell_of(shared: Shared, crew: TorchCrew | Learners, index: int, name: str) -> Cell:
    config, node = shared.config, shared.ids[name]
    if shared.promise is not None and not isinstance(crew, Learners):
        raise ConfigError("[privacy]: this engine trains many nodes at once; use --engine events or dense")
    counts = {split: crew.num_samples(index, split) for split in Splits.names}
    plan = shared.plan(name, counts, config.train)
    samples = float(counts["train"])
    averages = Averages(samples=samples) if plan.promise is None else Averages()
    may_stop = plan.stop is not None
    local = Progress(plan.steps, config.pace.rounds, averages=averages, may_stop=may_stop)
    return Cell(node, plan.nb, guard_of(config.train), entropy_of(config.seed, node), local, samples, plan.splits)


def entropy_of(seed: int, node: NodeId) -> Key:
    """What the simulator's host would start this node's Party with: the same lots, batches and noise."""
    return derive(root(seed), "entropy", node, 1)


def meeting_of(shared: Shared) -> Callable[[int], Key]:
    """Of a round: what its partners are drawn from. Cells follow from all nodes' salts (secagg/beacon.py)."""
    digest, rule = shared.recipe.digest, shared.mixer
    context = context_of(digest, shared.ground) if shared.ground is not None else None
    if context is None or not isinstance(rule, CellRule):
        return lambda index: Key(digest)
    secrets = {node: secret_of(entropy_of(shared.config.seed, node)) for node in shared.ids.values()}
    value = lru_cache(maxsize=2)(lambda window: honest_value(context, window, secrets))
    return lambda index: value(index // rule.window)


def setting_of(shared: Shared, chunk: int | None) -> DenseSetting:
    pace = shared.config.pace
    return DenseSetting(
        rule=shared.mixer,
        codec=shared.codec,
        snapshot_codec=SNAPSHOT_CODEC,
        schema=shared.schema,
        seed=Key(shared.recipe.digest),
        meeting=meeting_of(shared),
        eval_every=pace.evaluate,
        participants=pace.participants,
        weigh_samples=shared.config.train.weighting == "samples",
        closing=pace.closing,
        stop=shared.stop_rule,
        head_bytes=head_bytes(shared),
        chunk=chunk or max(min(EXCHANGE_VALUES // shared.schema.size, EXCHANGE_MAX), 2),
    )


def next_epoch_of(epoch: int, entropy: Key) -> int:
    return next_epoch(epoch, epoch, entropy=entropy)


# ------------------------------------------------------------------------------------------------ what a head costs


class Unsigned:
    """A signer for sizes only."""

    node = NodeId(bytes(32))

    def sign(self, text: bytes) -> bytes:
        return bytes(64)


def head_bytes(shared: Shared) -> Callable[[str, int], int]:
    """The head of a message like those of this network, by kind and body bytes, HTTP's usual headers included."""
    rule = shared.mixer
    vectors, num_notes = (1, 0) if isinstance(rule, Pairwise) else (rule.vectors, len(rule.notes))
    sections = _sections(shared) * vectors
    zero, averages = bytes(32), (1.0, 1.0, 0.0, 1)
    update = Update(zero, zero, 0, 100, averages, zero, False, zero, *(1.0,) * 6, sections)
    heads: dict[str, tuple[Message, int]] = {
        "request": (update, HTTP_REQUEST_BYTES),
        "answer": (update, HTTP_REPLY_BYTES),
        "row": (Row(zero, zero, 100, averages, sections, (1.0,) * num_notes), HTTP_REQUEST_BYTES),
        "edge": (Edge(zero, zero, "have", 0, 100), HTTP_REPLY_BYTES),
    }
    sizes = {kind: _sealed(message) + transport for kind, (message, transport) in heads.items()}

    def size(kind: str, body: int) -> int:
        return sizes[kind] + DIGEST_BYTES * -(-body // CHUNK_BYTES)

    return size


def _sections(shared: Shared) -> tuple[Section, ...]:
    """Those of one vector of small normal values: a field takes as many bytes as its value needs."""
    schema = shared.schema
    v = 0.01 * torch.from_numpy(gaussian(root(0), schema.size)).float()
    packed, _ = encode_vectors(shared.codec, v, schema, root(0))
    return tuple(Section(part.fields, memoryview(part.body).nbytes) for part in packed)


def _sealed(message: Any) -> int:
    (head,) = seal_digested(Unsigned(), bytes(32), message.KIND, message.to_fields(), (), b"")
    assert len(head) > HEAD_FIXED_BYTES
    return len(head)
