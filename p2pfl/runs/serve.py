"""One machine's node, from its document to its result. Knows the order of things; the parts come from assemble."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from p2pfl import __version__
from p2pfl.assemble.network import Shared, assemble
from p2pfl.assemble.splits import load_held, node_splits
from p2pfl.config import DataConfig, NodeConfig
from p2pfl.core.party import Emit, Put, Restored, Stop, TimerFired
from p2pfl.horizontal.records.budget import SPACE as PRIVACY
from p2pfl.horizontal.records.journal import JOURNAL, SNAPSHOT
from p2pfl.hosts.http import HttpHost
from p2pfl.hosts.open_files import allow_files, files_needed
from p2pfl.hosts.reach import Reach
from p2pfl.ledger.check.source import FileSource
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.membership.roster import SPACES as MEMBERS
from p2pfl.peer.keeper import SPACES
from p2pfl.runs.folder import METRICS, STORE, Metrics, RunFolder
from p2pfl.runs.joining import presence_of
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.pages import pages_of
from p2pfl.runs.personal import write_copy
from p2pfl.runs.process import run_to_the_end, stop_on_signals
from p2pfl.runs.readiness import Readiness
from p2pfl.runs.scrape import Labels, Meter
from p2pfl.runs.spool import Spool
from p2pfl.strategies import Strategy, make_strategy
from p2pfl.wire import keyfile

Listener = Callable[[Outcome, Emit], None]
Beside = Callable[[], AbstractAsyncContextManager[None]]
"""What runs on the node's loop beside the node, from before it listens until it has ended: its dashboard."""
REQUESTS_S = 0.5
"""Between looks for requests in the run's folder."""
LOADED = (*SPACES, *MEMBERS, SNAPSHOT, JOURNAL, PRIVACY)


class NodeStore:
    """A Store of whose contents a starting node loads what it goes on with; the log itself only grows on disk."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def load(self) -> Restored:
        return self._store.load(LOADED)

    def commit(self, puts: Sequence[Put]) -> None:
        self._store.commit(puts)

    def close(self) -> None:
        self._store.close()


def _read_piece(path: Path, name: str) -> bytes | None:
    """A piece of the ledger (ledger/source.py) out of the live store, beside its one writer."""
    with open_reader(path) as reader:
        return FileSource(reader).get(name)


def _labels(config: NodeConfig, shared: Shared) -> Labels:
    neighbours = len(shared.topology.neighbours(config.name)) if config.is_listed else 0
    return Labels(config.name, config.network.name, __version__, neighbours, shared.promise is not None)


async def _bring(spool: Spool, host: HttpHost, on_emit: Callable[[Emit], None]) -> None:
    """Hand requests over as they come; the Party takes each once, so one that waits is brought again."""
    while True:
        requests, refused = spool.look()
        for why in refused:
            on_emit(Emit("request.refused", {"why": why}))
        for request in requests:
            host.step(TimerFired(request))
        await asyncio.sleep(REQUESTS_S)


def strategy_of(config: NodeConfig) -> Strategy:
    """How the node behaves: honestly, but in trials. Raises ConfigError."""
    friends = frozenset(config.network.node(name).key for name in config.friends)
    return make_strategy(config.strategy, friends)


def strategy_data(strategy: Strategy, data: DataConfig) -> DataConfig:
    """The share of the data that the strategy takes."""
    return data if data.index is None else replace(data, index=strategy.share(data.index))


def run_node(
    config: NodeConfig, *, resume: bool, device: str | None, on_emit: Listener, beside: Beside = nullcontext
) -> tuple[Stop, dict[str, Any]]:
    """Run the node until its rounds are done, it is asked to stop, or it cannot go on. Returns why, and the summary.

    Its events go to `on_emit`, with "listening" once its port is open, and "stopped" as the last one.

    Raises ConfigError or HostError, in one line, for what stands in the way.
    """
    torch.set_num_threads(1)
    signer = keyfile.load(config.key_file)
    shared = assemble(config.network, device).of(config.name)
    strategy = strategy_of(config)
    splits = node_splits(strategy_data(strategy, config.data), config.network)
    wall_ms_at_zero = int((time.time() - time.monotonic()) * 1000)
    presence = presence_of(config, signer.node)
    node = shared.node(config.name, signer, splits, config.train, wall_ms_at_zero, presence, strategy, config.personal)
    folder = RunFolder.open(config.out, resume)
    folder.write_config(replace(config, network=shared.config))
    if config.data.path is not None:
        folder.write_encoder(load_held(config.data, config.network.seed).encoder)
    metrics = Metrics(folder / METRICS, append=resume)
    outcome = Outcome(config.name, shared.said.size)
    store = NodeStore(SqliteStore(folder / STORE))
    spool = Spool(folder.path, shared.network, signer.node)
    labels = _labels(config, shared)
    allow_files(files_needed(labels.neighbours))

    async def serve() -> Stop:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        ready = Readiness(loop.time, labels.neighbours > 0)
        meter = Meter(labels, folder / STORE, lambda: ready.why_not() is None, lambda: host.answered_with)

        def emitted(emit: Emit) -> None:
            seconds = loop.time() - begun
            meter.take(emit, ready.take(emit))
            outcome.take(seconds, emit)
            metrics.write(seconds, emit)
            if emit.name == "requested":
                spool.done(str(emit.fields["request"]))
            elif emit.name == "ordered":
                spool.done(str(emit.fields["order"]))
            on_emit(outcome, emit)

        reach = Reach(signer, shared.network, config.reached_at, config.network.tls == "off")
        addresses = {entry.key: entry.url for entry in config.network.nodes}
        host = HttpHost(
            node.party,
            node.work,
            store,
            addresses,
            config.address,
            os.urandom(32),
            emitted,
            on_listening=lambda port: emitted(Emit("listening", {"port": port})),
            read=partial(_read_piece, folder / STORE) if shared.genesis is not None else None,
            pages=pages_of(meter, ready, config.metrics),
            reach=reach,
        )

        def asked_to_stop(reason: str) -> None:
            ready.stop()
            host.stop(reason)

        stop_on_signals(asked_to_stop)
        bringing = asyncio.create_task(_bring(spool, host, emitted))
        try:
            async with beside():
                return await host.run()
        finally:
            bringing.cancel()
            await asyncio.wait({bringing})

    try:
        stop = run_to_the_end(serve())
    finally:
        metrics.close()
    local = node.job.local
    folder.write_model(shared.tensors(local.x, local.opt.slots), shared.recipe.digest, local.round)
    write_copy(folder, node.job.copy, shared, local.round)
    summary = outcome.summary() | {"stopped": stop.reason, "code": stop.code}
    folder.write_summary(summary)
    on_emit(outcome, Emit("stopped", {"code": stop.code, "reason": stop.reason}))
    return stop, summary
