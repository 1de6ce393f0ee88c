"""One party of a vertical job, from its documents to a Peer and its work. Knows tables and agreements; no socket."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.config.vertical import JobConfig, TableConfig
from p2pfl.core.ids import NodeId
from p2pfl.core.party import Task
from p2pfl.core.tasks import Work
from p2pfl.errors import ConfigError
from p2pfl.peer.peer import Peer
from p2pfl.runs.vertical import peer_of
from p2pfl.vertical.align import work as alignment_work
from p2pfl.vertical.align.ids import IdRules
from p2pfl.vertical.align.terms import Terms
from p2pfl.vertical.data.columns import TableSpec
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.data.table import PartyTable
from p2pfl.vertical.job.agreement import Agreement, Encryption, Purpose
from p2pfl.vertical.job.aligned import AlignedOnly
from p2pfl.vertical.job.phases import Phase, VerticalJob
from p2pfl.vertical.latent.rules import Transfer
from p2pfl.wire.envelope import Signs

Rows = NDArray[np.int64]
NUM_CLASSES = 2
SEALED_LR, REGRESSION_LR = 0.5, 0.15


def agreement_of(job: JobConfig, purpose: Purpose = "train") -> Agreement:
    """What a job document says, as the parties' agreement. Raises ConfigError."""
    align, guard, holder = job.align, job.protect, job.parties[-1]
    names = tuple(entry.name for entry in job.data_parties)
    rules = IdRules(align.trim, align.fold, align.nfkc)
    regression = job.model.kind in ("logistic", "linear")
    usual = REGRESSION_LR if regression else SEALED_LR
    return Agreement(
        name=job.name,
        parties=tuple((entry.name, entry.key) for entry in job.data_parties),
        terms=Terms(job.name, names, align.salt.encode(), align.mode, align.bucket, rules, align.ids_max),
        widths=(1 if regression else job.model.width,) * len(names),
        embeddings=RowGuard(guard.embedding_clip, guard.embedding_noise),
        gradients=RowGuard(guard.gradient_clip, guard.gradient_noise),
        least=align.least,
        purpose=purpose,
        kind=job.model.kind,
        level=guard.level,
        encryption=Encryption(
            third=None if guard.key_holder is None else (holder.name, holder.key),
            key_bits=guard.key_bits,
            rate=usual if job.train.sealed_lr is None else job.train.sealed_lr,
            noise=guard.weight_noise,
            decay=job.train.decay,
            tolerance=job.train.tolerance,
        ),
        transfer=Transfer(job.model.alignment, job.model.ridge, job.model.random_features, job.model.rest_only),
        batch=job.train.batch_size,
        epochs=job.train.epochs,
        test_fraction=job.train.test_fraction,
        seed=job.train.seed,
        hidden=job.model.hidden,
        top_hidden=job.model.top_hidden,
        lr=job.train.lr,
        delta=guard.delta,
        timeout_s=job.pace.timeout_s,
        patience_s=job.pace.patience_s,
    )


def spec_of(table: TableConfig, job: JobConfig) -> TableSpec:
    """The table's columns. Raises ConfigError."""
    fields = (table.path, table.id, table.label, table.features, table.drop, table.classes)
    regression = job.model.kind == "linear" and table.label is not None
    return TableSpec(*fields, regression=regression, delimiter=table.delimiter)


class JobWork:
    """Runs a party's tasks: those of the alignment, and those of `next` once there is one."""

    def __init__(self) -> None:
        self.next: Work | None = None

    def run(self, task: Task) -> Any:
        if isinstance(task, alignment_work.Blind | alignment_work.Raise | alignment_work.Match):
            return alignment_work.run(task)
        assert self.next is not None, "a task of a phase that has not begun"
        return self.next.run(task)


@dataclass(eq=False)
class Running:
    """What comes after the alignment: a job and who computes for it. `arrays` are the trained part, `report` what a
    summary says of it, `scores` what a prediction came to (label holder); all once `done`."""

    table: PartyTable
    job: Phase
    work: Work
    done: Callable[[], bool]
    arrays: Callable[[], dict[str, Tensor]] = dict
    report: Callable[[], dict[str, Any]] = dict
    scores: Callable[[], NDArray[Any] | None] = lambda: None


class Member:
    """One party with data. `begin` makes what follows from the common rows, in the common order. `peer` may be made
    again after a crash; `running` is of the newest, once it has aligned."""

    def __init__(
        self,
        agreement: Agreement,
        signer: Signs,
        table: PartyTable,
        begin: Callable[[Agreement, NodeId, PartyTable], Running],
    ) -> None:
        self.agreement, self.signer, self.table, self._begin = agreement, signer, table, begin
        self.index = agreement.index_of(signer.node)
        self.items = table.items(agreement.terms.rules)
        agreement.terms.padded(len(self.items))
        self.work = JobWork()
        self.running: Running | None = None
        self.rows: Rows | None = None

    def peer(self) -> Peer:
        """The Party of this machine."""
        job = VerticalJob(self.agreement, self.signer.node, self.items, self._prepare)
        return peer_of(self.agreement.accord, self.signer, job)

    def _prepare(self, rows: Rows) -> Phase:
        self.running = self._begin(self.agreement, self.signer.node, self.table.take(rows))
        self.work.next, self.rows = self.running.work, rows
        return self.running.job


def only_align(agreement: Agreement, me: NodeId, table: PartyTable) -> Running:
    """To `Member`: nothing follows."""
    job = AlignedOnly(agreement, me)
    return Running(table, job, JobWork(), lambda: job.done)


def check_ids(agreement: Agreement, table: PartyTable) -> None:
    """ConfigError unless these ids can be aligned: none empty, long or doubled, and no more than the job allows."""
    agreement.terms.padded(len(table.items(agreement.terms.rules)))


def check_table(agreement: Agreement, index: int, table: PartyTable) -> None:
    """ConfigError unless a party with these ids and columns can train."""
    check_ids(agreement, table)
    name, _ = agreement.parties[index]
    if index and not table.features:
        raise ConfigError(f"{table.source}: expected at least one feature column at {name}, got none")
    if index == 0 and table.y is None:
        raise ConfigError(f"labels missing: the label holder {name} names no label column (table.label)")
    if index == 0 and agreement.kind != "linear" and len(table.classes) != NUM_CLASSES:
        shown = ", ".join(table.classes[:4])
        raise ConfigError(f"{table.source}: expected a label with 2 values, got {len(table.classes)} ({shown})")
