"""A node's own work on its way to those who evaluate it: what is sent to whom, and again if need be. Knows draws, works
and posts; judges nothing.

When a draw is known the node makes, off the event loop, sketches of what it did to the models of its neighbours, of
those who are drawn as subjects. If it is a subject itself it shows its work to all evaluators, the sketches to those
who listen to the neighbours that they are of, and in an audit its model to its auditors.
"""

from collections.abc import Collection, Mapping

from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.limits import CONTROL_BYTES_MAX
from p2pfl.core.party import Compute, Verdict
from p2pfl.horizontal.model.work import Calculate
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.horizontal.valuing.manner import Manner
from p2pfl.horizontal.valuing.shown import ACCOUNT_BYTES, Work
from p2pfl.ledger.outcome.draw import Draw
from p2pfl.valuation import Account, Sketcher, account_of
from p2pfl.wire.envelope import chunk_digests
from p2pfl.wire.post import Post

ATTEMPTS_MAX = 8
ATTEMPT_S = 5.0
PAUSE_S = 0.2

Accounts = Mapping[NodeId, Account]
PostKey = tuple[str, NodeId, int]
"""("show", evaluator, window)."""


class Showing:
    """`spent_bytes`: what was shown so far, once each."""

    def __init__(self, me: NodeId, recipe: bytes, manner: Manner, desk: Desk) -> None:
        self.me, self.recipe, self.manner, self.desk = me, recipe, manner, desk
        self.spent_bytes = 0
        self.accounts: dict[int, Accounts] = {}  # by window, of neighbours that are subjects
        self._pulled: dict[int, Mapping[NodeId, Tensor]] = {}
        self._waiting: dict[int, tuple[Work, Draw]] = {}
        self._posts: dict[PostKey, tuple[Post, int]] = {}

    def turned(self, window: int, pulled: Mapping[NodeId, Tensor]) -> None:
        """A window has opened, in which work of the span before is committed to. pulled: of that span, by neighbour."""
        self._pulled[window] = pulled

    def forget(self, last: int) -> None:
        for kept in (self.accounts, self._pulled, self._waiting):
            for window in [window for window in kept if window <= last]:
                del kept[window]
        self._posts = {key: value for key, value in self._posts.items() if key[2] > last}

    def drawn(self, window: int, drawn: Draw, seed: bytes, work: Work | None) -> None:
        """Who values whom in a window is known."""
        if work is not None and self.me in drawn.subjects:
            self._waiting[window] = (work, drawn)
        pulled = self._pulled.pop(window, {})
        mine = {node: pulled[node] for node in drawn.subjects if node in pulled and node != self.me}

        def account() -> Accounts:
            return accounts_of(mine, seed)

        self.desk.do(Compute(Calculate(("valuing", "account", window), account)))

    def accounted(self, window: int, accounts: Accounts) -> None:
        self.accounts[window] = accounts
        if window in self._waiting:
            self._show(window, *self._waiting.pop(window))

    def _show(self, window: int, work: Work, drawn: Draw) -> None:
        auditors = drawn.audits.get(self.me, ())
        for to in drawn.evaluators:
            if to == self.me or not self.manner.shows_work(window, to):
                continue
            told = told_to(to, self.accounts[window], drawn.listeners)
            shown, body = work.show(self.recipe, to, window, bool(work.head) and to in auditors, told)
            key = ("show", to, window)
            chunks = chunk_digests(body)
            self._posts[key] = (Post(key, to, shown, body, chunks, CONTROL_BYTES_MAX), 0)  # type: ignore[arg-type]
            self.spent_bytes += sum(len(part) for part in body) + ACCOUNT_BYTES * len(told)
            self._send(key)

    def _send(self, key: PostKey) -> None:
        post, attempts = self._posts[key]
        self._posts[key] = (post, attempts + 1)
        by = self.desk.now + ATTEMPT_S
        self.desk.do(Post(post.key, post.to, post.message, post.body, post.chunks, post.reply_limit, by))

    def heard(self, key: PostKey, verdict: Verdict) -> None:
        """An evaluator has answered."""
        if verdict in (Verdict.ACCEPT, Verdict.REJECT):
            self._posts.pop(key, None)
        else:
            self.failed(key)

    def failed(self, key: PostKey) -> None:
        post = self._posts.get(key)
        if post is not None and post[1] < ATTEMPTS_MAX:
            self.desk.timer(key, PAUSE_S * post[1] * self.desk.jitter("show", key[1], post[1]))

    def again(self, key: PostKey) -> None:
        """The pause after an attempt that failed is over."""
        if key in self._posts:
            self._send(key)


def accounts_of(pulled: Mapping[NodeId, Tensor], seed: bytes) -> dict[NodeId, Account]:
    """Sketches, under the draw's seed, of what was done to each neighbour's model, (P,)."""
    if not pulled:
        return {}
    sketch = Sketcher(seed, len(next(iter(pulled.values()))))
    return {node: account_of(sketch(total)) for node, total in pulled.items()}


def told_to(to: NodeId, accounts: Accounts, listeners: Mapping[NodeId, Collection[NodeId]]) -> dict[NodeId, Account]:
    """Those whose listener it is."""
    return {node: account for node, account in accounts.items() if to in listeners.get(node, ())}
