"""A whole network in the dense engine: the node's arithmetic over all nodes, without Parties. Knows no terminal."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from p2pfl.assemble.network import Shared, assemble
from p2pfl.assemble.splits import load_held, shares_of, splits_of
from p2pfl.config import NetworkConfig
from p2pfl.core.ids import NodeId
from p2pfl.core.party import Emit
from p2pfl.errors import ConfigError
from p2pfl.hosts.dense import Cell, DenseHost, Models
from p2pfl.hosts.dense_pairs import DensePairs
from p2pfl.hosts.dense_rows import DenseRows
from p2pfl.learn.data import Held
from p2pfl.learn.stacked import EngineName, TorchCrew
from p2pfl.mixing.pairwise import Pairwise
from p2pfl.runs.baselines import Baselines
from p2pfl.runs.crews import cell_of, crew_of, next_epoch_of, setting_of
from p2pfl.runs.folder import METRICS, RunFolder
from p2pfl.runs.network import references_agree, summarise
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.personal import write_copy
from p2pfl.runs.privacy import refuse_short, spent_after
from p2pfl.runs.similarity import write_picture
from p2pfl.transfer.distill import Distill
from p2pfl.transfer.personal import Copy
from p2pfl.wire.messages import PHASE_MIN


@dataclass(frozen=True, eq=False)
class DenseRun:
    """A network ready to run, and afterwards what came of it."""

    shared: Shared
    cells: dict[str, Cell]
    outcomes: dict[str, Outcome]
    host: DenseHost
    held: Held
    shares: Sequence[torch.Tensor]
    copies: dict[str, Copy] = field(default_factory=dict)

    def models(self) -> dict[str, torch.Tensor]:
        """Each node's model (P,), views of one tensor."""
        return dict(zip(self.cells, self.host.models.x, strict=True))

    def whole_models(self) -> dict[str, torch.Tensor]:
        """The same with what each node keeps to itself."""
        slots = self.host.slots
        own = ({name: slot[row] for name, slot in slots.items()} for row in range(len(self.cells)))
        return {name: self.shared.whole(x, kept) for (name, x), kept in zip(self.models().items(), own, strict=True)}

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
    if config.train.seconds is not None:
        raise ConfigError("train.seconds: this engine knows no time; use --engine events")
    if isinstance(shared.mixer, Distill):
        raise ConfigError('mix.rule "distill": this engine mixes models alone; use --engine events')
    if shared.promise is not None:
        refuse_short(shared.promise)
    held = load_held(config.data, config.seed)
    shares = shares_of(held, config.data, len(config.nodes), config.seed)
    crew = crew_of(shared, held, shares, engine, chunk)
    cells = {entry.name: cell_of(shared, crew, index, entry.name) for index, entry in enumerate(config.nodes)}
    outcomes = {entry.name: Outcome(entry.name, shared.schema.size) for entry in config.nodes}
    names = {entry.key: entry.name for entry in config.nodes}
    host_cells = list(cells.values())
    setting = setting_of(shared, chunk)
    start = shared.start().expand(len(cells), -1).clone()
    models = Models(start, torch.zeros(len(cells), dtype=torch.float64))

    def emitted(node: NodeId, emit: Emit) -> None:
        outcome = outcomes[names[node]]
        outcome.take(0.0, emit)
        on_emit(outcome, emit)

    exchanging: DensePairs | DenseRows
    if isinstance(setting.rule, Pairwise):
        exchanging = DensePairs(setting, host_cells, models, crew, next_epoch_of, PHASE_MIN)
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
    if run.shared.config.personal.steps and not run.host.failed:
        _make_copies(run)


def _make_copies(run: DenseRun) -> None:
    """Each node's own, as the node makes it (horizontal/gossip.py), one after another."""
    config, models = run.shared.config, run.models()
    for index, (name, cell) in enumerate(run.cells.items()):
        splits = splits_of(run.held, run.shares[index], config.data, config.seed, index)
        personaliser = run.shared.personaliser(splits, config.train)
        assert personaliser is not None
        run.copies[name] = copy = personaliser.copy(models[name], cell.train_key)
        run.outcomes[name].take(0.0, Emit("personal", {"round": cell.local.round, **copy.told()}))


def dense_summary(run: DenseRun, compared: Baselines | None) -> dict[str, Any]:
    """The simulator's summary, without what needs Parties: no seconds, no feeds."""
    rows = [outcome.summary() for outcome in run.outcomes.values()]
    ids = {name: node.hex() for name, node in run.shared.ids.items()}
    return summarise(rows, compared, references_agree(rows, ids), None, ids) | {
        "seconds_per_round": None,
        "engine": "dense",
        "train_engine": run.train_engine,
    }


def write_dense(folder: RunFolder, run: DenseRun, summary: dict[str, Any]) -> None:
    """The run folder: one folder per node with its model, and the summary. There are no stores."""
    folder.write_config(run.shared.config)
    models = run.whole_models()
    for name, cell in run.cells.items():
        own = RunFolder.open(folder / name, resume=True)
        own.write_model(run.shared.model.tensors(models[name]), run.shared.recipe.digest, cell.local.round)
        write_copy(own, run.copies.get(name), run.shared, cell.local.round)
        own.write_config(run.shared.config)
        own.write_summary(run.outcomes[name].summary())
    rows = [json.dumps(row) + "\n" for row in summary["per_node"]]
    (folder / METRICS).write_text("".join(rows))
    write_picture(folder, summary["similarity"])
    folder.write_summary(summary)
