"""One party of a vertical job over HTTP, from its document to its results. Knows the order of things and the folder.

node.db            durable state and feed          common.csv         ids and lines that all have, in the common order
metrics.jsonl      one object per event            predictions.csv    id, score (label holder, predict)
part.*             the trained part                summary.json       what it came to
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from p2pfl.config.vertical import PartyConfig
from p2pfl.core.party import Emit, Restored, Stop
from p2pfl.core.tasks import Work
from p2pfl.crypto.paillier_keys import PrivateKey
from p2pfl.errors import ConfigError
from p2pfl.hosts.http import HttpHost
from p2pfl.hosts.reach import Reach
from p2pfl.ledger.feeds.records import ENTRY
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.peer.peer import Peer
from p2pfl.peer.recovery import RECOVER
from p2pfl.runs.folder import METRICS, STORE, SUMMARY, Metrics, RunFolder
from p2pfl.runs.process import run_to_the_end, stop_on_signals
from p2pfl.runs.vertical_keys import private_key
from p2pfl.runs.vertical_party import Member, agreement_of, only_align, spec_of
from p2pfl.runs.vertical_results import COMMON, PREDICTIONS, write_common, write_predictions
from p2pfl.runs.vertical_saved import ABOUT, read_part, write_part
from p2pfl.runs.vertical_scoring import predictor
from p2pfl.runs.vertical_training import check_trainable, holds_key, key_holder, trainer
from p2pfl.runs.vertical_transfer import score_alone
from p2pfl.vertical.data.metrics import binary_metrics, number_metrics
from p2pfl.vertical.data.table import load_table
from p2pfl.vertical.job.agreement import Agreement
from p2pfl.vertical.job.aligning import ALIGN_SPACE
from p2pfl.vertical.split.plan import SPACE
from p2pfl.wire import keyfile
from p2pfl.wire.envelope import Signs

LOADED = (ENTRY, RECOVER, SPACE, ALIGN_SPACE)

Beside = Callable[[HttpHost], AbstractAsyncContextManager[Callable[[Emit], None]]]
"""Something that lives beside the host (a local route), and gets what the Party emits."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a terminal wants to know: seconds since the start and an event; the port."""

    on_emit: Callable[[float, Emit], None] = lambda seconds, emit: None
    on_listening: Callable[[int], None] = lambda port: None


class PartyStore:
    """A Store of which a starting party loads what it goes on with."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def load(self) -> Restored:
        return self._store.load(LOADED)

    def commit(self, puts: Any) -> None:
        self._store.commit(puts)

    def close(self) -> None:
        self._store.close()


def run_align(config: PartyConfig, resume: bool, hooks: Hooks) -> tuple[Stop, dict[str, Any]]:
    """Find the common rows, write them, and end."""
    signer, agreement = keyfile.load(config.key_file), agreement_of(config.job)
    member = Member(agreement, signer, load_table(spec_of(config.rows, config.job)), only_align)
    folder = RunFolder.open(config.out, resume)
    stop, told = _run(config, folder, member.peer, member.work, resume, hooks)
    if _is_done(stop, member):
        assert member.running is not None
        write_common(folder / COMMON, member.running.table)
    return stop, _summary(config, folder, "align", stop, told, {})


def run_train(config: PartyConfig, resume: bool, hooks: Hooks) -> tuple[Stop, dict[str, Any]]:
    """Align, train, and save the party's part. Goes on from `run_align` in the same folder; what is done is done."""
    torch.set_num_threads(1)
    if resume and (config.out / ABOUT).exists() and (config.out / SUMMARY).exists():
        return Stop(0, "it was done before"), RunFolder(config.out).read_summary()
    if config.is_key_holder:
        return _run_key_holder(config, agreement_of(config.job), config.out, "train", resume, hooks)
    signer, agreement = keyfile.load(config.key_file), agreement_of(config.job)
    table = load_table(spec_of(config.rows, config.job))
    check_trainable(agreement, signer, table)
    resume = resume or ((config.out / COMMON).exists() and not (config.out / ABOUT).exists())
    folder = RunFolder.open(config.out, resume)
    member = trainer(agreement, signer, table, _key(config, agreement, signer))
    stop, told = _run(config, folder, member.peer, member.work, resume, hooks)
    more: dict[str, Any] = {}
    if _is_done(stop, member):
        assert member.running is not None
        running, features = member.running, member.running.table.x.shape[1]
        write_common(folder / COMMON, member.running.table)
        write_part(folder.path, agreement, member.index, running.table.encoder, features, running.arrays())
        more = running.report()
    return stop, _summary(config, folder, "train", stop, told, more)


def run_predict(
    config: PartyConfig, table: Path | None, out: Path, resume: bool, hooks: Hooks
) -> tuple[Stop, dict[str, Any]]:
    """Score the rows that all have; the label holder writes them. `table` instead of the document's."""
    torch.set_num_threads(1)
    if config.is_key_holder:
        agreement = agreement_of(config.job, "predict")
        if agreement.level == 0:
            raise ConfigError(f"{config.name} holds keys, and predictions of a regression need none of them")
        return _run_key_holder(config, agreement, out, "predict", resume, hooks)
    if config.job.model.kind == "transfer":
        return _predict_alone(config, table, out)
    member = load_predictor(config, table)
    folder = RunFolder.open(out, resume)
    stop, told = _run(config, folder, member.peer, member.work, resume, hooks)
    more: dict[str, Any] = {}
    if _is_done(stop, member):
        assert member.running is not None
        found, scores = member.running.table, member.running.scores()
        if scores is not None:
            write_predictions(folder / PREDICTIONS, found, scores)
            more = {"predictions": str(folder / PREDICTIONS)}
            if found.y is not None:
                metrics = number_metrics if config.job.model.kind == "linear" else binary_metrics
                more |= metrics(found.y, scores.astype(np.float64))
    return stop, _summary(config, folder, "predict", stop, told, more)


def _predict_alone(config: PartyConfig, table: Path | None, out: Path) -> tuple[Stop, dict[str, Any]]:
    """A transfer's parts need nobody else: all rows of the party's table, by its own part."""
    signer, agreement = keyfile.load(config.key_file), agreement_of(config.job, "predict")
    index = agreement.index_of(signer.node)
    saved = read_part(config.out, agreement, index)
    spec = spec_of(config.rows, config.job)
    rows = load_table(spec if table is None else replace(spec, path=table), saved.encoder)
    scores = score_alone(agreement, index, saved, rows)
    folder = RunFolder.open(out, resume=False)
    write_predictions(folder / PREDICTIONS, rows, scores)
    more: dict[str, Any] = {"rows": len(rows), "predictions": str(folder / PREDICTIONS)}
    if rows.y is not None:
        more |= binary_metrics(rows.y, scores.astype(np.float64))
    stop = Stop(0, "scored alone")
    return stop, _summary(config, folder, "predict", stop, Told(), more)


def run_beside(
    config: PartyConfig, member: Member, out: Path, resume: bool, hooks: Hooks, beside: Beside | None
) -> tuple[Stop, dict[str, Any]]:
    """Answer questions until asked to stop; `beside` is where the label holder's come from."""
    folder = RunFolder.open(out, resume)
    stop, told = _run(config, folder, member.peer, member.work, resume, hooks, beside)
    return stop, _summary(config, folder, "serve", stop, told, {})


def load_predictor(config: PartyConfig, table: Path | None = None, serves: bool = False) -> Member:
    """The party's part, and its rows encoded as they were in training. Raises ConfigError."""
    if config.job.model.kind == "transfer":
        raise ConfigError("serve: a transfer's parts score alone; expected `predict`")
    signer, agreement = keyfile.load(config.key_file), agreement_of(config.job, "predict")
    saved = read_part(config.out, agreement, agreement.index_of(signer.node))
    spec = spec_of(config.rows, config.job)
    if table is not None:
        spec = replace(spec, path=table)
    rows = load_table(spec, saved.encoder)
    return predictor(agreement, signer, rows, saved, serves, _key(config, agreement, signer))


def _run_key_holder(
    config: PartyConfig, agreement: Agreement, out: Path, phase: str, resume: bool, hooks: Hooks
) -> tuple[Stop, dict[str, Any]]:
    """The party without data."""
    signer = keyfile.load(config.key_file)
    folder = RunFolder.open(out, resume)
    key = private_key(config.out, signer, agreement.encryption.key_bits)
    peer, work, _ = key_holder(agreement, signer, key)
    stop, told = _run(config, folder, lambda: peer, work, resume, hooks)
    return stop, _summary(config, folder, phase, stop, told, {})


def _key(config: PartyConfig, agreement: Agreement, signer: Signs) -> PrivateKey | None:
    """The party's Paillier key, if it needs one."""
    if not holds_key(agreement, signer.node):
        return None
    if agreement.purpose == "predict" and agreement.level == 0:
        return None
    return private_key(config.out, signer, agreement.encryption.key_bits)


def _is_done(stop: Stop, member: Member) -> bool:
    return stop.code == 0 and member.running is not None and member.running.done()


# ------------------------------------------------------------------------------------------------------ the run


class Told:
    """The latest of what a run said."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.latest: dict[str, dict[str, Any]] = {}
        self.traffic: dict[str, Any] = {}

    def take(self, seconds: float, emit: Emit) -> None:
        self.seconds = seconds
        self.latest[emit.name] = dict(emit.fields)


def _run(
    config: PartyConfig,
    folder: RunFolder,
    make: Callable[[], Peer],
    work: Work,
    resume: bool,
    hooks: Hooks,
    beside: Beside | None = None,
) -> tuple[Stop, Told]:
    """The party's Peer over HTTP until it stops. Raises HostError for what the machine refuses."""
    told, metrics, peer = Told(), Metrics(folder / METRICS, append=resume), make()
    store = PartyStore(SqliteStore(folder / STORE))

    async def serve() -> Stop:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        listeners: list[Callable[[Emit], None]] = []

        def emitted(emit: Emit) -> None:
            seconds = loop.time() - begun
            told.take(seconds, emit)
            metrics.write(seconds, emit)
            hooks.on_emit(seconds, emit)
            for listener in listeners:
                listener(emit)

        addresses = {entry.key: entry.url for entry in config.job.parties}
        reach = Reach(
            keyfile.load(config.key_file), peer.network, config.job.parties[config.index].url, config.job.tls == "off"
        )
        host = HttpHost(
            peer,
            work,
            store,
            addresses,
            config.address,
            os.urandom(32),
            emitted,
            on_listening=hooks.on_listening,
            reach=reach,
        )
        stop_on_signals(host.stop)
        async with (beside or _nothing)(host) as listener:
            listeners.append(listener)
            return await host.run()

    try:
        stop = run_to_the_end(serve())
    finally:
        metrics.close()
    told.traffic = {"bytes_sent": peer.traffic.sent, "bytes_received": peer.traffic.received}
    return stop, told


@asynccontextmanager
async def _nothing(host: HttpHost) -> AsyncIterator[Callable[[Emit], None]]:
    yield lambda emit: None


# ------------------------------------------------------------------------------------------------------ results


def _summary(
    config: PartyConfig, folder: RunFolder, phase: str, stop: Stop, told: Told, more: dict[str, Any]
) -> dict[str, Any]:
    """What it came to; written down unless the job ended badly, which leaves no result behind."""
    aligned = told.latest.get("aligned", {})
    summary = {
        "job": config.job.name,
        "party": config.name,
        "role": _role(config),
        "phase": phase,
        "rows_common": aligned.get("rows"),
        "rows_own": aligned.get("of"),
        **more,
        **told.traffic,
        "seconds": round(told.seconds, 3),
        "stopped": stop.reason,
        "code": stop.code,
    }
    if stop.code == 0:
        folder.write_summary(summary)
    else:
        (folder / SUMMARY).unlink(missing_ok=True)
    return summary


def _role(config: PartyConfig) -> str:
    if config.is_key_holder:
        return "key holder"
    return "label holder" if config.is_label_holder else "feature holder"
