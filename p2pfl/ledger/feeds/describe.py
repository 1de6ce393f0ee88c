"""What an entry says, for people and for JSON. Pure; knows no terminal."""

from typing import Any

from p2pfl.core.ids import short
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.kinds import ACCEPTED, ROLES, VERDICTS, Reveal, Value
from p2pfl.ledger.feeds.shapes import KINDS
from p2pfl.ledger.feeds.tally import receipts_of


def summary(entry: Entry) -> str:
    """One line."""
    match entry.kind, entry.payload:
        case "feed.open", (int(format_), bytes(recipe)):
            return f"format {format_}, recipe {short(recipe)}"
        case "model", (bytes(digest), final):
            return f"{short(digest)}{', final' if final else ''}"
        case "delta.reveal", rows:
            sent = [Reveal(*row) for row in rows]  # type: ignore[misc]  # shape checked by parse
            return _flow("sent to", {row.to for row in sent}, len(sent), sum(row.size_bytes for row in sent))
        case "receipts", _:
            got = receipts_of(entry)
            text = _flow("from", {row.sender for row in got}, len(got), sum(row.size_bytes for row in got))
            refused = sum(row.verdict != ACCEPTED for row in got)
            return f"{text}, {refused} refused" if refused else text
        case "join", (int(roles),):
            return f"asks to be: {roles_text(roles)}"
        case "endorse", (bytes(subject), int(roles)):
            return f"speaks for {short(subject)} as: {roles_text(roles)}"
        case "leave", (int(roles),):
            return f"gives up: {roles_text(roles)}"
        case "key.rotate", (bytes(new), _):
            return f"goes on under the key {short(new)}"
        case "privacy", (str(unit), str(adjacency), int(delta), int(epsilon), tuple(rows)):
            target = f"epsilon {epsilon / 1e9:g} at most" if epsilon else "no target"
            return f"{unit}s, {adjacency}, delta {delta / 1e15:g}, {target}; {len(rows)} kinds of release so far"
        case "vertical.alignment", (bytes(), tuple(sizes), int(common)):
            return f"{common} rows in common of {', '.join(map(str, sizes))}"
        case "vertical.steps", (bytes(job), int(step)):
            return f"job {short(job)}: {step} steps done"
        case "vertical.scores", (bytes(), int(samples), tuple(rows)):
            said = ", ".join(f"{name} {value / 1e6:.4f}" for name, value in _metrics(rows))
            return f"{said}; {samples} rows held out" if samples else said
        case "rule.propose", (str(rule), tuple(rows), int(height)):
            return f"wants the rule {rule_text(rule, rows)} from height {height} on"
        case "rule.vote", (bytes(proposal), agrees):
            return f"is {'for' if agrees else 'no longer for'} the proposal {short(proposal)}"
        case "task.publish", (str(title), str(rule), int(budget), int(price), *_):
            return f"{title!r}: {budget} credits, at most {price} a unit, by {rule}"
        case "bid.commit", (bytes(task), bytes()):
            return f"bids for the task {short(task)}, sealed"
        case "bid.reveal", (bytes(task), int(units), int(ask), bytes()):
            return f"bid for the task {short(task)}: {units} units for {ask} credits"
        case "stake.lock", (int(credits),):
            return f"stakes {credits} credits"
        case "stake.release", (int(credits),):
            return f"takes {credits} credits out of its stake"
        case "update.commit", (bytes(), bytes(), int(first), int(last)):
            return f"its update of rounds {first} to {last}, hidden"
        case "draw.salt", (int(window), bytes()):
            return f"its salt for the draw of window {window}"
        case "score.commit", (int(window), bytes()):
            return f"its scores of window {window}, hidden"
        case "score.reveal", (int(window), _, _, str(estimator), int(tried), int(samples), tuple(rows)):
            return f"{len(rows)} scores of window {window}: {estimator}, {tried} models on {samples} examples"
        case "resume", (int(before), int(seq), bytes(head), tuple(rows)):
            return f"after incarnation {before}, seq {seq} ({short(head)}); {len(rows)} acknowledge"
    return f"unknown kind, {len(entry.payload)} fields"


def rule_text(rule: str, parameters: tuple[Value, ...]) -> str:
    """`receipts, cap = 64, receivers = 2`."""
    return ", ".join([rule, *(f"{name} = {value}" for name, value in _metrics(parameters))])


def _metrics(rows: tuple[Value, ...]) -> list[tuple[str, int]]:
    return [row for row in rows if isinstance(row, tuple)]  # type: ignore[misc]  # shape checked by parse


def roles_text(roles: int) -> str:
    """`worker, validator`, or `no role`."""
    return ", ".join(name for bit, name in ROLES.items() if roles & bit) or "no role"


def details(entry: Entry) -> dict[str, Any]:
    """All fields, bytes as hex; the payload by field names where the kind is known."""
    return {
        "id": entry.id.hex(),
        "author": entry.author.hex(),
        "incarnation": entry.incarnation,
        "seq": entry.seq,
        "prev": entry.prev.hex(),
        "network": entry.net.hex(),
        "round": entry.round,
        "kind": entry.kind,
        "known": entry.known,
        "payload": _payload(entry),
        "refs": [ref.hex() for ref in entry.refs],
        "size_bytes": len(entry.raw),
    }


def _payload(entry: Entry) -> Any:
    shape = KINDS.get(entry.kind)
    if shape is None:
        return _plain(entry.payload)
    if not shape.many:
        return _named(shape.fields, entry.payload)
    return [_named(shape.fields, row) for row in entry.payload]


def _named(fields: tuple[str, ...], row: Value) -> dict[str, Any]:
    assert isinstance(row, tuple)
    named = {name: _plain(value) for name, value in zip(fields, row, strict=True)}
    if "verdict" in named:
        named["verdict"] = VERDICTS[named["verdict"]]
    return named


def _plain(value: Value) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _flow(verb: str, peers: set[bytes], num_messages: int, size_bytes: int) -> str:
    who = short(next(iter(peers))) if len(peers) == 1 else f"{len(peers)} peers"
    return f"{num_messages} {verb} {who}, {size_text(size_bytes)}"


def size_text(size_bytes: int) -> str:
    """`812 B`, `12.3 kB`, `4.0 MB`."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
