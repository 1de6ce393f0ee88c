"""What `p2pfl doctor` says: one line for each thing it looked at, and what to do about it. Knows no check."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` was looked at, what was `found`, and what to `do`; the last is empty if all is well."""

    what: str
    verdict: Verdict
    found: str
    do: str = ""

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def ok(what: str, found: str) -> Finding:
    return Finding(what, "ok", found)


def warning(what: str, found: str, do: str) -> Finding:
    return Finding(what, "warning", found, do)


def failed(what: str, found: str, do: str) -> Finding:
    return Finding(what, "failed", found, do)


def has_failed(findings: Iterable[Finding]) -> bool:
    return any(finding.verdict == "failed" for finding in findings)
