"""Who does the heavy work. Knows tasks, not what they are about."""

from typing import Any, Protocol

from p2pfl.core.party import Task


class Work(Protocol):
    """Turns a task into its result. Called off the event loop; holds no state that a result could depend on."""

    def run(self, task: Task) -> Any: ...
