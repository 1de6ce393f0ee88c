"""Whether a payload is what its kind says: one check for each field. Knows values; knows no signature and no chain.

A kind that is not in `KINDS` is kept (another version of the software wrote it) and shown as unknown.
"""

import re
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from p2pfl.core.limits import RECEIPTS_PER_ENTRY_MAX
from p2pfl.errors import Reject
from p2pfl.ledger.feeds.kinds import (
    ACKNOWLEDGEMENTS_MAX,
    CODEC_CHARS_MAX,
    CREDITS_MAX,
    ESTIMATORS,
    FINDINGS,
    FORMAT,
    METRICS_MAX,
    RELEASES_MAX,
    ROLES_ASKED,
    RULE_PARAMETERS_MAX,
    SCORE_MAX,
    SIGNATURE_BYTES,
    SIZES_MAX,
    SUBJECTS_MAX,
    TASK_WINDOWS_MAX,
    TITLE_CHARS_MAX,
    UNITS_MAX,
    VERDICTS,
    WHOLE_MAX,
    Aligned,
    Amount,
    DrawSalt,
    Endorsement,
    ModelDigest,
    OpenBid,
    Opening,
    Payload,
    Privacy,
    Publication,
    Receipt,
    Resumption,
    Reveal,
    Roles,
    Rotation,
    RuleProposal,
    RuleVote,
    ScoreCommit,
    ScoreReveal,
    Scores,
    SealedBid,
    Steps,
    UpdateCommit,
    Value,
)

_NAME = re.compile(r"[a-z][a-z0-9_.]{0,31}")

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
