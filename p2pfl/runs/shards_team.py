"""Who carries boxes between shards: the protocol, and the carrier for one process. Knows no Ray.

A team has one worker per shard and begins a step of one of them at a time (`ask`); what that gives is the team's own
handle, to be given to another worker's step or to be waited for. So boxes may go from worker to worker without anybody
between.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from p2pfl.errors import HostError
from p2pfl.runs.shards import Shard, ShardOrder, Told

Handle = Any
"""What will be a step's result, in a form that only the team knows."""


class WorkerDied(HostError):
    """A worker's process or machine is gone."""

    def __init__(self, worker: int) -> None:
        super().__init__(f"worker {worker} died")
        self.worker = worker


class Team(Protocol):
    count: int
    """Workers."""

    def ask(self, worker: int, step: str, *given: Handle) -> Handle:
        """Begin a step of a worker's `Shard`, after those that were begun before."""
        ...

    def ask_boxes(self, worker: int, step: str, *given: Handle) -> list[Handle]:
        """The same for a step that gives boxes: one handle for each of them."""
        ...

    def wait(self, asked: Sequence[Handle]) -> list[Any]:
        """The results. Raises what a step raised, and WorkerDied."""
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...


class LocalTeam:
    """All shards in this process, one after another: for tests, and what a run without Ray is measured against."""

    def __init__(self, orders: Sequence[ShardOrder]) -> None:
        self.shards = [Shard(order) for order in orders]
        self.count = len(self.shards)

    def ask(self, worker: int, step: str, *given: Handle) -> Handle:
        return getattr(self.shards[worker], step)(*given)

    def ask_boxes(self, worker: int, step: str, *given: Handle) -> list[Handle]:
        boxes: list[Handle] = self.ask(worker, step, *given)
        return boxes

    def wait(self, asked: Sequence[Handle]) -> list[Any]:
        return list(asked)

    def close(self) -> None:
        self.shards.clear()


def go_round(team: Team, sends: int, closing: bool) -> list[Told]:
    """One round of all shards; `sends` boxes go from each to each."""
    workers = range(team.count)
    boxes = [team.ask_boxes(worker, "train", closing) for worker in workers]
    for _ in range(sends - 1):
        boxes = [team.ask_boxes(worker, "send", *_to(worker, boxes)) for worker in workers]
    return team.wait([team.ask(worker, "land", *_to(worker, boxes)) for worker in workers])


def ask_all(team: Team, step: str, *given: Sequence[Any]) -> list[Any]:
    """A step of every worker, with one of each of the `given`."""
    return team.wait([team.ask(worker, step, *own) for worker, own in enumerate(_columns(team.count, given))])


def _columns(count: int, given: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return list(zip(*given, strict=True)) if given else [()] * count


def _to(worker: int, boxes: Sequence[Sequence[Handle]]) -> list[Handle]:
    return [sent[worker] for sent in boxes]
