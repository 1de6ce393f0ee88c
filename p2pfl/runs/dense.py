"""A whole network in the dense engine: the node's arithmetic over all nodes, without Parties. Knows no terminal."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import process_time
from typing import Any

import torch

from p2pfl.assemble import (
    SNAPSHOT_CODEC,
    Shared,
    assemble,
    check_private,
    guard_of,
    learner_of,
    load_held,
    rows_of,
    shares_of,
    splits_of,
    training_of,
)
from p2pfl.config import NetworkConfig
from p2pfl.core.ids import NodeId
from p2pfl.core.limits import CHUNK_BYTES, HTTP_REPLY_BYTES, HTTP_REQUEST_BYTES
from p2pfl.core.noise import Key, derive, gaussian, root
from p2pfl.core.party import Emit
from p2pfl.errors import ConfigError
from p2pfl.horizontal.algorithm import encode_vectors
from p2pfl.horizontal.averages import Averages
from p2pfl.horizontal.edge import next_epoch
from p2pfl.horizontal.progress import Progress
from p2pfl.hosts.dense import Cell, DenseHost, DenseSetting, Models
from p2pfl.hosts.dense_pairs import DensePairs
from p2pfl.hosts.dense_rows import DenseRows
from p2pfl.learn.crew import Learners
from p2pfl.learn.data import Held, Splits
from p2pfl.learn.pool import Pool
from p2pfl.learn.stacked import EngineName, TorchCrew
from p2pfl.mixing.pairwise import Pairwise
from p2pfl.runs.baselines import Baselines
from p2pfl.runs.folder import METRICS, RunFolder
from p2pfl.runs.network import references_agree, summarise
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.privacy import refuse_short, spent_after
from p2pfl.wire.envelope import DIGEST_BYTES, HEAD_FIXED_BYTES, seal_digested
from p2pfl.wire.messages import PHASE_MIN, Edge, Message, Row, Section, Update

EXCHANGE_VALUES = 160_000
EXCHANGE_MAX = 64
"""Values, and nodes, that are exchanged at once: what stays in a core's cache meanwhile."""


@dataclass(frozen=True, eq=False)
class DenseRun:
    """A network ready to run, and afterwards what came of it."""

    shared: Shared
    cells: dict[str, Cell]
    outcomes: dict[str, Outcome]
    host: DenseHost
    held: Held
    shares: Sequence[torch.Tensor]

    def models(self) -> dict[str, torch.Tensor]:
        """Each node's model (P,), views of one tensor."""
        return dict(zip(self.cells, self.host.models.x, strict=True))

    @property
    def train_engine(self) -> str:
        """Which engine trained: "learners" if each node has one of the user's own."""
        crew = self.host.crew
        return crew.engine_name if isinstance(crew, TorchCrew) else "learners"


def build_dense(
    config: NetworkConfig,
    *,
    on_emit: Callable[[Outcome, Emit], None] = lambda outcome, emit: None,
    dtype: torch.dtype = torch.float32,
    chunk: int | None = None,
    sparse: bool = True,
    engine: EngineName = "auto",
) -> DenseRun:
    """All nodes of `config` (see `runs.simulate.simulated`) as one tensor program. Raises ConfigError.

    chunk: so many nodes at a time, instead of as many as suit the caches. sparse: mix weighted rows where they lie, if
    the rule can. engine: what trains (learn/stacked.py).
    """
    if config.pace.mode != "lockstep":
        raise ConfigError('the dense engine is lockstep: set pace.mode = "lockstep", or use --engine events')
    shared = assemble(config, device="cpu", dtype=dtype)
    if getattr(shared.mixer, "weighting", None) == "cell" and not getattr(shared.codec, "lossless", False):
        raise ConfigError('mix.rule "cell": the dense engine sums whole models; set compress.codec = "fp32"')
    if shared.promise is not None:
        refuse_short(shared.promise)
    held = load_held(config.data, config.seed)
    shares = shares_of(held, config.data, len(config.nodes), config.seed)
    crew = _crew(shared, held, shares, engine, chunk)
    cells = {entry.name: _cell(shared, crew, index, entry.name) for index, entry in enumerate(config.nodes)}
    outcomes = {entry.name: Outcome(entry.name, shared.schema.size) for entry in config.nodes}
    names = {entry.key: entry.name for entry in config.nodes}
    host_cells = list(cells.values())
    setting = _setting(shared, chunk)
    start = shared.model.start().expand(len(cells), -1).clone()
    models = Models(start, torch.zeros(len(cells), dtype=torch.float64))

    def emitted(node: NodeId, emit: Emit) -> None:
        outcome = outcomes[names[node]]
        outcome.take(0.0, emit)
        on_emit(outcome, emit)

    exchanging: DensePairs | DenseRows
    if isinstance(setting.rule, Pairwise):
        exchanging = DensePairs(setting, host_cells, models, crew, _next_epoch, PHASE_MIN)
    else:
        exchanging = DenseRows(setting, host_cells, models, sparse)
    host = DenseHost(setting, host_cells, models, crew, exchanging, emitted)
    return DenseRun(shared, cells, outcomes, host, held, shares)


def run_dense(run: DenseRun) -> None:
    """Run to the end on one thread, as the simulator does: a result must not depend on how many cores there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run.host.run()
    finally:
        torch.set_num_threads(threads)
    promise = run.shared.promise
    if promise is not None:
        for name, cell in run.cells.items():
            steps = cell.local.steps
            releases = steps if promise.unit == "example" else steps // cell.local.phase_steps
            run.outcomes[name].take(0.0, spent_after(promise, releases))


def dense_summary(run: DenseRun, compared: Baselines | None) -> dict[str, Any]:
    """The simulator's summary, without what needs Parties: no seconds, no feeds."""
    rows = [outcome.summary() for outcome in run.outcomes.values()]
    agree = references_agree(rows, {name: node.hex() for name, node in run.shared.ids.items()})
    return summarise(rows, compared, agree, None) | {
        "seconds_per_round": None,
        "engine": "dense",
        "train_engine": run.train_engine,
    }


def write_dense(folder: RunFolder, run: DenseRun, summary: dict[str, Any]) -> None:
    """The run folder: one folder per node with its model, and the summary. There are no stores."""
    folder.write_config(run.shared.config)
    models = run.models()
    for name, cell in run.cells.items():
        own = RunFolder.open(folder / name, resume=True)
        own.write_model(models[name], run.shared.schema, run.shared.recipe.digest, cell.local.round)
        own.write_config(run.shared.config)
        own.write_summary(run.outcomes[name].summary())
    rows = [json.dumps(row) + "\n" for row in summary["per_node"]]
    (folder / METRICS).write_text("".join(rows))
    folder.write_summary(summary)


def _crew(
    shared: Shared, held: Held, shares: Sequence[torch.Tensor], engine: EngineName, chunk: int | None
) -> TorchCrew | Learners:
    """Who trains: the built-in learner over all nodes at once, or one learner of the user's own a node."""
    config, data = shared.config, shared.config.data
    private = config.privacy.unit != "none"
    if str(config.train.learner) != "torch" or private:
        if engine != "auto":
            what = "[privacy] trains node by node" if private else f"train.learner is {str(config.train.learner)!r}"
            raise ConfigError(f"train engine {engine!r}: {what}; use 'auto'")
        splits = [splits_of(held, rows, data, config.seed, index) for index, rows in enumerate(shares)]
        for own in splits:
            check_private(config.privacy, config.train, len(own.train))
        return Learners([shared.learner(own, config.train) for own in splits])
    parts = [rows_of(held, rows, data, config.seed, index) for index, rows in enumerate(shares)]
    train, test = (part.to(shared.model.device, shared.model.dtype) for part in (held.train, held.test))
    pool = Pool(train, test, [own for own, _ in parts], [kept for _, kept in parts], config.train.batch_size)
    learner_of(config.train, shared.model, pool.splits(0), config.pace.rounds)  # says what does not fit
    return TorchCrew(
        shared.model,
        pool,
        training_of(config.train, config.pace.rounds),
        engine,
        chunk,
        directions=isinstance(shared.mixer, Pairwise),
        clock=process_time,
    )


def _cell(shared: Shared, crew: TorchCrew | Learners, index: int, name: str) -> Cell:
    config, node = shared.config, shared.ids[name]
    if shared.promise is not None and not isinstance(crew, Learners):
        raise ConfigError("[privacy]: this engine trains many nodes at once; use --engine events or dense")
    counts = {split: crew.num_samples(index, split) for split in Splits.names}
    plan = shared.plan(name, counts, config.train)
    samples = float(counts["train"])
    averages = Averages(samples=samples) if plan.promise is None else Averages()
    may_stop = plan.stop is not None
    local = Progress(plan.steps, config.pace.rounds, averages=averages, may_stop=may_stop)
    # What the simulator's host would start this node's Party with: the same lots, batches and noise.
    entropy = derive(root(config.seed), "entropy", node, 1)
    return Cell(node, plan.nb, guard_of(config.train), entropy, local, samples, plan.splits)


def _setting(shared: Shared, chunk: int | None) -> DenseSetting:
    pace = shared.config.pace
    return DenseSetting(
        rule=shared.mixer,
        codec=shared.codec,
        snapshot_codec=SNAPSHOT_CODEC,
        schema=shared.schema,
        seed=Key(shared.recipe.digest),
        eval_every=pace.evaluate,
        participants=pace.participants,
        weigh_samples=shared.config.train.weighting == "samples",
        closing=pace.closing,
        stop=shared.stop_rule,
        head_bytes=head_bytes(shared),
        chunk=chunk or max(min(EXCHANGE_VALUES // shared.schema.size, EXCHANGE_MAX), 2),
    )


def _next_epoch(epoch: int, entropy: Key) -> int:
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
