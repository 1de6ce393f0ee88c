"""What an entry can say: the payload of each kind. Knows values; knows no signature and no chain.

A payload is an array of ints, bytes, text and arrays: no floats, no maps, so that it has one encoding. The rows here
are named tuples, so they are payload values as they stand. shapes.py checks them.
"""

from typing import Any, NamedTuple, TypeAlias

from p2pfl.core.limits import FEED_ENTRY_BYTES_MAX, RECEIPTS_PER_ENTRY_MAX
from p2pfl.errors import Reject
from p2pfl.wire import canonical

Value: TypeAlias = "int | bytes | str | tuple[Value, ...]"
Payload: TypeAlias = tuple[Value, ...]

FORMAT = 1
"""The feed format that a new feed names in its first entry."""

WHOLE_MAX = (1 << 63) - 1
"""The largest count: what a signed 64-bit column holds."""

CODEC_CHARS_MAX = 64
ROWS_BYTES_MAX = FEED_ENTRY_BYTES_MAX - 4096
"""Packed rows of one entry; the rest is for the other fields, at most 64 refs among them."""

ACCEPTED, IGNORED, REJECTED = 0, 1, 2
VERDICTS = ("accepted", "ignored", "rejected")
"""Names of a receipt's verdict, by its number."""

WORKER, VALIDATOR, SPONSOR = 1, 2, 4
ROLES = {WORKER: "worker", VALIDATOR: "validator", SPONSOR: "sponsor"}
"""Bits of roles, and their names. A worker is paid, a validator votes, a sponsor endorses."""
ROLES_ASKED = WORKER | VALIDATOR
"""What a node can ask for, give up, and be endorsed for; sponsors are those of the genesis."""

SIGNATURE_BYTES = 64
RULE_PARAMETERS_MAX = 32
TITLE_CHARS_MAX = 96
CREDITS_MAX = 10**15
"""Of one budget, bid or stake."""
UNITS_MAX = 10**9
TASK_WINDOWS_MAX = 10_000
"""Accounting windows of one phase of a task."""
ACKNOWLEDGEMENTS_MAX = 256
SIZES_MAX = 8
METRICS_MAX = 32
RELEASES_MAX = 256

SUBJECTS_MAX = 16
"""Nodes whose work of one accounting window is valued; of more, so many are drawn."""
SCORE_MAX = 1_000_000_000
"""The largest score, in millionths, either way."""

ESTIMATORS = ("exact", "permutations", "gtg")
FAIR, UNREVEALED, UNOPENED, COPIED, STALE, WIRE, UNFELT = range(7)
FINDINGS = (
    "scored",
    "did not show its update",
    "showed another update than it committed to",
    "committed later to the update of somebody else",
    "showed an update much like one of an earlier window",
    "sent its neighbour something else than the model it committed to",
    "claimed work that its neighbours did not have to hold back",
)
"""What an evaluator found out about a subject, by number; only of the first does the score say anything."""


class Opening(NamedTuple):
    """Payload of "feed.open", the first entry of a feed. Feeds of a later format are refused politely."""

    format: int
    recipe: bytes


class Reveal(NamedTuple):
    """A row of "delta.reveal": what the author sent in one window, one row per message."""

    to: bytes
    epoch: int
    seq: int
    digest: bytes
    size_bytes: int
    codec: str


class Receipt(NamedTuple):
    """A row of "receipts": what the author received in one window, one row per message.

    `num_accepted` and `total_bytes` are of all messages that the author accepted from `sender` since this feed opened,
    with this row: the last receipt for a sender says it all, however many were lost.
    """

    sender: bytes
    epoch: int
    seq: int
    digest: bytes
    size_bytes: int
    verdict: int
    num_accepted: int
    total_bytes: int


class ModelDigest(NamedTuple):
    """Payload of "model": the digest of the author's model after the entry's round; `final` is 1 at a run's end."""

    digest: bytes
    final: int


class Roles(NamedTuple):
    """Payload of "join" (the author asks for these roles) and of "leave" (it gives them up)."""

    roles: int


class Endorsement(NamedTuple):
    """Payload of "endorse": the author, a sponsor, wants `subject` to have these roles."""

    subject: bytes
    roles: int


class Rotation(NamedTuple):
    """Payload of "key.rotate": all that the author is and has goes to the key `new`, which signed its consent."""

    new: bytes
    consent: bytes


class Resumption(NamedTuple):
    """Payload of "resume", in a later incarnation: the feed of `incarnation` ended at `seq` with the id `head`.

    Rows of `acknowledgements` are [validator, signature]: others who hold the feed up to there and no further.
    """

    incarnation: int
    seq: int
    head: bytes
    acknowledgements: tuple[Value, ...]


class Aligned(NamedTuple):
    """Payload of "vertical.alignment": how many rows each party of the job has, in its order, and how many all have."""

    job: bytes
    sizes: tuple[Value, ...]
    common: int


class Steps(NamedTuple):
    """Payload of "vertical.steps": the author has applied so many steps of the job."""

    job: bytes
    step: int


class Scores(NamedTuple):
    """Payload of "vertical.scores": metrics on `samples` held-out rows, as rows [name, millionths]."""

    job: bytes
    samples: int
    metrics: tuple[Value, ...]


class Privacy(NamedTuple):
    """Payload of "privacy": what the author has released under differential privacy, and what it promised.

    delta in units of 1e-15, epsilon (0: no target) of 1e-9; rows of `releases` are [noise, rate, count], both 1e-9.
    """

    unit: str
    adjacency: str
    delta: int
    epsilon: int
    releases: tuple[Value, ...]


class RuleProposal(NamedTuple):
    """Payload of "rule.propose": the author, a validator, wants this rule for the windows from `height` on.

    Rows of `parameters` are [name, value], by name.
    """

    rule: str
    parameters: tuple[Value, ...]
    height: int


class RuleVote(NamedTuple):
    """Payload of "rule.vote": the author, a validator, is for the proposal (its entry's id), or no longer."""

    proposal: bytes
    agrees: int


class Publication(NamedTuple):
    """Payload of "task.publish": `budget` credits of the author for units of work, at most `price` for one.

    Bids are sealed for `bidding` windows after the one in which this is final, opened in the next `revealing`, and what
    is done in the `working` windows after those is paid.
    """

    title: str
    rule: str
    budget: int
    price: int
    bidding: int
    revealing: int
    working: int


class SealedBid(NamedTuple):
    """Payload of "bid.commit": `seal` is `statements.seal` of the bid, which nobody can read from it."""

    task: bytes
    seal: bytes


class OpenBid(NamedTuple):
    """Payload of "bid.reveal": the author would do `units` units of work of the task for `ask` credits in all."""

    task: bytes
    units: int
    ask: int
    salt: bytes


class Amount(NamedTuple):
    """Payload of "stake.lock" and "stake.release": credits of the author that become stake, or begin to be free."""

    credits: int


class UpdateCommit(NamedTuple):
    """Payload of "update.commit", one in an accounting window: what the author did in its rounds `first` to `last`.

    commitment: hides the models before and after, what moved one to the other, and the author's own update until it is
    opened (docs/formats/valuation.md). salt: SHA-256 of the salt with which the author takes part in the draw.
    """

    commitment: bytes
    salt: bytes
    first: int
    last: int


class DrawSalt(NamedTuple):
    """Payload of "draw.salt": the salt that the author's commit of `window` named, now that the window is closed."""

    window: int
    salt: bytes


class ScoreCommit(NamedTuple):
    """Payload of "score.commit": hides what the author, a drawn evaluator, says of the work done in `window`."""

    window: int
    commitment: bytes


class ScoreReveal(NamedTuple):
    """Payload of "score.reveal": what the author's commit hid. Rows of `scores` are [subject, millionths, verdict].

    model: digest of the model to which the updates were added. estimator: one of ESTIMATORS; evaluations: how many
    models were tried for it, on `samples` examples.
    """

    window: int
    salt: bytes
    model: bytes
    estimator: str
    evaluations: int
    samples: int
    scores: tuple[Value, ...]


def freeze(value: Any, depth: int = 6) -> Value:
    """The value with tuples for lists. Raises Reject for what a signed body must not hold: floats, bools, maps, nil."""
    match value:
        case bool():
            raise Reject("malformed", "an entry holds no bool")
        case int() | bytes() | str():
            return value
        case list() | tuple() if depth > 0:
            return tuple(freeze(item, depth - 1) for item in value)
    raise Reject("malformed", f"an entry holds no {type(value).__name__} here")


def batches(rows: list[Any]) -> list[list[Any]]:
    """Rows in order, cut so that each piece fits one entry: by number of rows and by packed bytes."""
    pieces: list[list[Any]] = []
    room = 0
    for row in rows:
        size = len(canonical.packb(row))
        if not pieces or size > room or len(pieces[-1]) == RECEIPTS_PER_ENTRY_MAX:
            pieces.append([])
            room = ROWS_BYTES_MAX
        pieces[-1].append(row)
        room -= size
    return pieces
