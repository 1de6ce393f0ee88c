"""What a member has said in a round and is not yet sure of: attempts, pauses, and who seems gone. Knows keys and times;
no step's meaning beyond whether it is a short statement or long words.
"""

from dataclasses import replace
from typing import Any

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import SEND_ATTEMPTS_LOG2_MAX
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.secagg.statements import Step
from p2pfl.wire.post import Post

STATEMENTS = (Step.KEYS, Step.SHARES, Step.HELD, Step.ANSWERS)
PAUSE_S = 0.05
ATTEMPT = 0.5
"""Of a time-out: how long one attempt at a statement may take."""
ATTEMPTS_OF_WORDS = (0.25, 0.5, 1.0, 2.0)
"""The same for words: longer after each attempt that failed."""
SILENT_MAX = 3
"""Who has not answered so many attempts in a row seems gone."""
SILENT_CHAIR_MAX = 4
"""The same of a chair: without it the round is lost for the whole cell, and attempts at statements are short."""

Key = tuple[Any, ...]
"""("cell", step, to, number, round)"""


class Posts:
    """Of one round. A post is repeated with the same bytes until it is taken."""

    def __init__(self, desk: Desk, timeout_s: float) -> None:
        self.desk, self.timeout_s = desk, timeout_s
        self.failures: dict[Key, int] = {}  # of what is not taken yet, attempts in a row
        self._posts: dict[Key, Post] = {}

    def add(self, post: Post) -> None:
        """Send it; `post.key` is a `Key`."""
        key: Any = post.key
        self._posts[key], self.failures[key] = post, 0
        self.send(key)

    def send(self, key: Key) -> None:
        """One attempt, unless it has been taken."""
        if key not in self.failures:
            return
        failures = min(self.failures[key], len(ATTEMPTS_OF_WORDS) - 1)
        attempt = ATTEMPT if key[1] in STATEMENTS else ATTEMPTS_OF_WORDS[failures]
        self.desk.do(replace(self._posts[key], deadline=self.desk.now + attempt * self.timeout_s))

    def taken(self, key: Key) -> None:
        del self.failures[key]

    def waits(self, key: Key) -> None:
        """The other end is there, and asks for patience."""
        self.failures[key] = 0
        self.desk.timer(("retry", key), PAUSE_S * self.desk.jitter(key[2], key[4]))

    def failed(self, key: Key, reason: str) -> bool:
        """One attempt came to nothing. Returns whether the other end seems gone; a pause, then again, all the same."""
        self.failures[key] += 1
        count = self.failures[key]
        most = silent_max(key)
        if count == most:
            self.desk.emit("unreachable", peer=short(key[2]), reason=reason, attempts=count)
        pause = PAUSE_S * 2 ** min(count, SEND_ATTEMPTS_LOG2_MAX) * self.desk.jitter(key[2], key[4], count)
        self.desk.timer(("retry", key), pause)
        return count >= most

    def open(self, step: Step, but_silent: bool = False) -> bool:
        """Whether something of this step is not taken yet; `but_silent`: by somebody who does not seem gone."""
        return any(
            key[1] is step and not (but_silent and failures >= silent_max(key))
            for key, failures in self.failures.items()
        )

    @property
    def silent(self) -> frozenset[NodeId]:
        return frozenset(key[2] for key, failures in self.failures.items() if failures >= silent_max(key))


def silent_max(key: Key) -> int:
    """After how many failed attempts in a row the other end seems gone."""
    return SILENT_CHAIR_MAX if key[1] in STATEMENTS else SILENT_MAX
