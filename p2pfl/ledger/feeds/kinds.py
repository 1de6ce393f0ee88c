"""What an entry can say: the payload of each kind, and its check. Knows values; knows no signature and no chain.

A payload is an array of ints, bytes, text and arrays: no floats, no maps, so that it has one encoding. The rows here
are named tuples, so they are payload values as they stand. A kind that is not in `KINDS` is kept (another version of
the software wrote it) and shown as unknown.
"""

import re
from collections.abc import Callable
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
_NAME = re.compile(r"[a-z][a-z0-9_.]{0,31}")

SUBJECTS_MAX = 16
"""Nodes whose work of one accounting window is valued; of more, so many are drawn."""
SCORE_MAX = 1_000_000_000
"""The largest score, in millionths, either way."""

ESTIMATORS = ("exact", "permutations", "gtg")
FAIR, UNREVEALED, UNOPENED, COPIED, STALE, WIRE = range(6)
FINDINGS = (
    "scored",
    "did not show its update",
    "showed another update than it committed to",
    "committed later to the update of somebody else",
    "showed an update much like one of an earlier window",
    "sent its neighbour something else than the model it committed to",
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


# ------------------------------------------------------------------------------------------------- the checks

Check: TypeAlias = Callable[[Value], str | None]
"""What is wrong with a value, or None. Exact about types: a payload comes as it was unpacked, with `True` for 1 if a
liar packed it so."""


def _whole(value: Value) -> str | None:
    if type(value) is int and 0 <= value <= WHOLE_MAX:
        return None
    return f"expected a whole number of 0 to 2^63 - 1, got {_brief(value)}"


def _id(value: Value) -> str | None:
    return None if type(value) is bytes and len(value) == 32 else f"expected 32 bytes, got {_brief(value)}"


def _below(top: int) -> Check:
    def check(value: Value) -> str | None:
        good = type(value) is int and 0 <= value < top
        return None if good else f"expected 0 to {top - 1}, got {_brief(value)}"

    return check


def _one_of(*names: str) -> Check:
    def check(value: Value) -> str | None:
        return (
            None if isinstance(value, str) and value in names else f"expected {' or '.join(names)}, got {_brief(value)}"
        )

    return check


def _roles(value: Value) -> str | None:
    good = type(value) is int and 0 < value <= ROLES_ASKED
    return None if good else f"expected roles of 1 to {ROLES_ASKED}, got {_brief(value)}"


def _signature(value: Value) -> str | None:
    good = isinstance(value, bytes) and len(value) == SIGNATURE_BYTES
    return None if good else f"expected {SIGNATURE_BYTES} bytes, got {_brief(value)}"


def _acknowledgements(value: Value) -> str | None:
    if not isinstance(value, tuple) or len(value) > ACKNOWLEDGEMENTS_MAX:
        return f"expected at most {ACKNOWLEDGEMENTS_MAX} rows, got {_brief(value)}"
    for row in value:
        if not isinstance(row, tuple) or len(row) != 2 or _id(row[0]) or _signature(row[1]):
            return "expected rows [validator, signature]"
    return None


def _sizes(value: Value) -> str | None:
    good = isinstance(value, tuple) and 2 <= len(value) <= SIZES_MAX and not any(map(_whole, value))
    return None if good else f"expected 2 to {SIZES_MAX} whole numbers, got {_brief(value)}"


def _metrics(value: Value) -> str | None:
    if not isinstance(value, tuple) or len(value) > METRICS_MAX:
        return f"expected at most {METRICS_MAX} rows, got {_brief(value)}"
    for row in value:
        if not isinstance(row, tuple) or len(row) != 2 or _codec(row[0]) or type(row[1]) is not int:
            return "expected rows [name, millionths]"
    return None


def _releases(value: Value) -> str | None:
    if not isinstance(value, tuple) or len(value) > RELEASES_MAX:
        return f"expected at most {RELEASES_MAX} rows, got {_brief(value)}"
    for row in value:
        if not isinstance(row, tuple) or len(row) != 3 or any(map(_whole, row)):
            return "expected rows [noise, rate, count]"
    return None


def _parameters(value: Value) -> str | None:
    if not isinstance(value, tuple) or len(value) > RULE_PARAMETERS_MAX:
        return f"expected at most {RULE_PARAMETERS_MAX} rows, got {_brief(value)}"
    for row in value:
        if not isinstance(row, tuple) or len(row) != 2 or _name(row[0]) or _whole(row[1]):
            return "expected rows [name, whole number]"
    names = [str(row[0]) for row in value if isinstance(row, tuple)]
    return None if names == sorted(set(names)) else "expected each parameter once, by name"


def _name(value: Value) -> str | None:
    good = isinstance(value, str) and _NAME.fullmatch(value) is not None
    return None if good else f"expected 1 to 32 of a-z, 0-9, dots and underscores, got {_brief(value)}"


def _title(value: Value) -> str | None:
    good = isinstance(value, str) and 0 < len(value) <= TITLE_CHARS_MAX and value.isascii() and value.isprintable()
    return None if good else f"expected 1 to {TITLE_CHARS_MAX} printable ASCII characters, got {_brief(value)}"


def _count(top: int) -> Check:
    def check(value: Value) -> str | None:
        good = type(value) is int and 0 < value <= top
        return None if good else f"expected 1 to {top}, got {_brief(value)}"

    return check


def _scores(value: Value) -> str | None:
    if not isinstance(value, tuple) or len(value) > SUBJECTS_MAX:
        return f"expected at most {SUBJECTS_MAX} rows, got {_brief(value)}"
    for row in value:
        if not isinstance(row, tuple) or len(row) != 3 or _id(row[0]) or _micro(row[1]) or _finding(row[2]):
            return "expected rows [subject, millionths, verdict]"
    return None


def _micro(value: Value) -> str | None:
    good = type(value) is int and -SCORE_MAX <= value <= SCORE_MAX
    return None if good else f"expected -{SCORE_MAX} to {SCORE_MAX}, got {_brief(value)}"


def _finding(value: Value) -> str | None:
    return _below(len(FINDINGS))(value)


def _format(value: Value) -> str | None:
    good = type(value) is int and value == FORMAT
    return None if good else f"expected feed format {FORMAT}, got {_brief(value)}: made by a newer p2pfl"


def _codec(value: Value) -> str | None:
    good = isinstance(value, str) and 0 < len(value) <= CODEC_CHARS_MAX and value.isascii() and value.isprintable()
    return None if good else f"expected 1 to {CODEC_CHARS_MAX} printable ASCII characters, got {_brief(value)}"


def _brief(value: Value) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)[:40]


class Shape(NamedTuple):
    """A payload is one row of these fields, or (`many`) an array of such rows."""

    fields: tuple[str, ...]
    checks: tuple[Check, ...]
    many: bool

    def check(self, payload: Payload) -> None:
        """Raises Reject unless the payload has this shape."""
        if not self.many:
            self._check_row(payload)
            return
        if not 0 < len(payload) <= RECEIPTS_PER_ENTRY_MAX:
            raise Reject("payload", f"expected 1 to {RECEIPTS_PER_ENTRY_MAX} rows, got {len(payload)}")
        for index, row in enumerate(payload):
            try:
                self._check_row(row)
            except Reject as refusal:
                raise Reject(refusal.code, f"row {index}: {refusal.detail}") from None

    def _check_row(self, row: Value) -> None:
        if not isinstance(row, tuple) or len(row) != len(self.fields):
            raise Reject("payload", f"expected [{', '.join(self.fields)}]")
        for number, check in enumerate(self.checks):
            wrong = check(row[number])
            if wrong:
                raise Reject("payload", f"{self.fields[number]}: {wrong}")


KINDS: dict[str, Shape] = {
    "feed.open": Shape(Opening._fields, (_format, _id), many=False),
    "delta.reveal": Shape(Reveal._fields, (_id, _whole, _whole, _id, _whole, _codec), many=True),
    "receipts": Shape(
        Receipt._fields, (_id, _whole, _whole, _id, _whole, _below(len(VERDICTS)), _whole, _whole), many=True
    ),
    "model": Shape(ModelDigest._fields, (_id, _below(2)), many=False),
    "join": Shape(Roles._fields, (_roles,), many=False),
    "endorse": Shape(Endorsement._fields, (_id, _roles), many=False),
    "leave": Shape(Roles._fields, (_roles,), many=False),
    "key.rotate": Shape(Rotation._fields, (_id, _signature), many=False),
    "privacy": Shape(
        Privacy._fields, (_one_of("example", "node"), _one_of("zero-out"), _whole, _whole, _releases), many=False
    ),
    "vertical.alignment": Shape(Aligned._fields, (_id, _sizes, _whole), many=False),
    "vertical.steps": Shape(Steps._fields, (_id, _whole), many=False),
    "vertical.scores": Shape(Scores._fields, (_id, _whole, _metrics), many=False),
    "rule.propose": Shape(RuleProposal._fields, (_name, _parameters, _whole), many=False),
    "rule.vote": Shape(RuleVote._fields, (_id, _below(2)), many=False),
    "task.publish": Shape(
        Publication._fields, (_title, _name, *[_count(CREDITS_MAX)] * 2, *[_count(TASK_WINDOWS_MAX)] * 3), many=False
    ),
    "bid.commit": Shape(SealedBid._fields, (_id, _id), many=False),
    "bid.reveal": Shape(OpenBid._fields, (_id, _count(UNITS_MAX), _count(CREDITS_MAX), _id), many=False),
    "stake.lock": Shape(Amount._fields, (_count(CREDITS_MAX),), many=False),
    "stake.release": Shape(Amount._fields, (_count(CREDITS_MAX),), many=False),
    "update.commit": Shape(UpdateCommit._fields, (_id, _id, _whole, _whole), many=False),
    "draw.salt": Shape(DrawSalt._fields, (_whole, _id), many=False),
    "score.commit": Shape(ScoreCommit._fields, (_whole, _id), many=False),
    "score.reveal": Shape(
        ScoreReveal._fields, (_whole, _id, _id, _one_of(*ESTIMATORS), _whole, _whole, _scores), many=False
    ),
    "resume": Shape(Resumption._fields, (_whole, _whole, _id, _acknowledgements), many=False),
}


def check_payload(kind: str, payload: Payload) -> None:
    """Raises Reject if the payload of a known kind is not what that kind says. Unknown kinds pass."""
    if kind in KINDS:
        KINDS[kind].check(payload)
