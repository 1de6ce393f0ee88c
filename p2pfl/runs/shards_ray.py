"""Shards as Ray actors, on this machine or on a cluster: the only file that imports Ray, and only when asked to.

One actor holds one shard. A step's boxes are as many results of one task, so each goes from actor to actor through
Ray's object store, as numpy arrays that are not copied to be read; the driver holds references alone. Nothing is
restarted by Ray: a shard that came back alone would be rounds behind the others (runs/shards_checkpoint.py goes on
with all).

A cluster's machines trust each other: what passes between them are Python's own objects, as Ray writes them.
"""

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from p2pfl.errors import ConfigError, HostError, P2PFLError
from p2pfl.runs.shards import Shard, ShardOrder
from p2pfl.runs.shards_team import Handle, WorkerDied

STORE_BYTES_MIN = 256 << 20
STORE_ROUNDS = 4
"""Rounds' boxes that the object store has room for, where it is our own."""
PING_S = 60.0
CONNECT_S = 10.0


class Worker:
    """What runs in an actor. The shard is built by a step of its own, so that what cannot be is an answer."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.shard: Shard | None = None

    def build(self, order: ShardOrder) -> None:
        self.shard = Shard(order)

    def step(self, name: str, *given: Any) -> Any:
        return getattr(self.shard, name)(*given)

    def boxes(self, name: str, *given: Any) -> Any:
        """One result for each shard; Ray takes a single one for itself, not for a list of one."""
        found = self.step(name, *given)
        return tuple(found) if self.count > 1 else found[0]

    def ping(self) -> int:
        return os.getpid()


class RayTeam:
    """A worker for each order. address: of a running cluster; None is one of our own on this machine.

    round_bytes: what crosses in a round, about. Until `close` nothing that is printed is shown: Ray writes of dead
    workers to standard output, which is for results. Raises ConfigError.
    """

    def __init__(self, orders: Sequence[ShardOrder], address: str | None = None, round_bytes: float = 0.0) -> None:
        self.count, self.ray, self.silence = len(orders), _imported(), ExitStack()
        try:
            nowhere = self.silence.enter_context(Path(os.devnull).open("w"))  # noqa: SIM115  -- the stack closes it
            self.silence.enter_context(redirect_stdout(nowhere))
            _connect(self.ray, address, self.count, round_bytes)
            actor = self.ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Worker)
            self.actors = [actor.remote(self.count) for _ in orders]
            self.wait([each.build.remote(order) for each, order in zip(self.actors, orders, strict=True)])
        except BaseException:
            self.close()
            raise

    def ask(self, worker: int, step: str, *given: Handle) -> Handle:
        return self.actors[worker].step.remote(step, *given)

    def ask_boxes(self, worker: int, step: str, *given: Handle) -> list[Handle]:
        asked = self.actors[worker].boxes.options(num_returns=self.count).remote(step, *given)
        return list(asked) if self.count > 1 else [asked]

    def wait(self, asked: Sequence[Handle]) -> list[Any]:
        exceptions = self.ray.exceptions
        try:
            return list(self.ray.get(list(asked)))
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, P2PFLError):
                raise _plain(error.cause) from None
            if isinstance(error.cause, exceptions.RayError):
                raise self._dead() from None
            raise
        except exceptions.RayError:
            raise self._dead() from None

    def pids(self) -> list[int]:
        """The workers' processes, each on its own machine."""
        return self.wait([actor.ping.remote() for actor in self.actors])

    def close(self) -> None:
        self.ray.shutdown()
        self.silence.close()

    def _dead(self) -> HostError:
        """Which worker it was. A step that waits for boxes of a dead one fails too, so all are asked."""
        for worker, actor in enumerate(self.actors):
            try:
                self.ray.get(actor.ping.remote(), timeout=PING_S)
            except self.ray.exceptions.GetTimeoutError:
                return HostError(f"worker {worker} has not answered for {PING_S:.0f} seconds")
            except self.ray.exceptions.RayError:
                return WorkerDied(worker)
        return HostError("the workers lost what they had to tell each other: Ray's object store is full or gone")


def _plain(error: P2PFLError) -> P2PFLError:
    """The error without the trace that Ray writes into it."""
    kind = ConfigError if isinstance(error, ConfigError) else HostError
    return kind(str(error))


def _imported() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray has no other switch; nobody is told that somebody simulates
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # the behaviour to come, without its warning
    try:
        import ray
    except ImportError:
        raise ConfigError("--engine ray: Ray is not installed; pip install p2pfl-node[ray]") from None
    return ray


def _connect(ray: Any, address: str | None, workers: int, round_bytes: float) -> None:
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    if address is None:
        room = max(STORE_BYTES_MIN, round(STORE_ROUNDS * round_bytes))
        ray.init(address="local", num_cpus=workers, object_store_memory=room, **options)
        return
    if address != "auto":
        _check_reached(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0].split(". ")[0]
        raise ConfigError(f"--ray-address {address}: expected a running cluster, got: {why}") from None
    cores = int(ray.cluster_resources().get("CPU", 0))
    if cores < workers:
        ray.shutdown()
        raise ConfigError(f"--workers: expected at most one worker a core, {cores} in the cluster, got {workers}")


def _check_reached(address: str) -> None:
    """Ray itself tries for minutes, and says so on many lines. Raises ConfigError."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise ConfigError(f"--ray-address: expected HOST:PORT of a cluster's head or auto, got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise ConfigError(f"--ray-address {address}: expected a running cluster, got: {why}") from None
