"""Who belongs to the network and as what: the effects of join, endorse, leave, key.rotate and resume on the state.

Pure; knows drafts and entries of these kinds, no block and no credit but the balance that moves with a key. An effect
returns None, or the reason why the entry has none: a ledger is full of things that were said in vain, and a person who
asks why nothing happened gets this line.
"""

from collections.abc import Callable
from typing import Any

from p2pfl.core.ids import NodeId, short
from p2pfl.ledger.feeds.describe import roles_text
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.kinds import ROLES, SPONSOR, VALIDATOR, WORKER, Endorsement, Resumption, Roles, Rotation
from p2pfl.ledger.feeds.statements import is_acknowledged, is_consent
from p2pfl.ledger.outcome.state import Draft, State

Look = Draft | State

ROTATIONS_MAX = 1024
"""Longer chains of rotated keys are not followed: a bound, never met by a person."""


def present(look: Look, node: bytes) -> NodeId:
    """The key that has taken over what `node` was: `node` itself unless it was rotated."""
    for _ in range(ROTATIONS_MAX):
        successor = look.get("rotated", node)
        if successor is None:
            break
        assert isinstance(successor[0], bytes)
        node = successor[0]
    return NodeId(node)


def granted(look: Look, node: bytes) -> int:
    """The roles that the node has now; none for a frozen or a rotated key."""
    if look.get("frozen", node) is not None or look.get("rotated", node) is not None:
        return 0
    return _member(look, node)[1]


def is_worker(look: Look, node: bytes) -> bool:
    return bool(granted(look, node) & WORKER)


def join(draft: Draft, entry: Entry, needed: int) -> str | None:
    """The author asks for roles; it has those for which enough sponsors have spoken, or speak later."""
    roles = Roles(*entry.payload).roles  # type: ignore[arg-type]  # shape checked by parse
    asked, has, since = _member(draft, entry.author)
    if asked | roles == asked:
        return f"it has asked for this already and has: {roles_text(has)}"
    _put(draft, entry.author, asked | roles, has, since)
    _grant(draft, entry.author, needed)
    return None


def endorse(draft: Draft, entry: Entry, needed: int) -> str | None:
    """A sponsor speaks for a node; its word counts once, whichever of its keys says it."""
    sponsor = entry.author
    subject, roles = Endorsement(*entry.payload)  # type: ignore[arg-type]  # shape checked by parse
    if not granted(draft, sponsor) & SPONSOR:
        return f"{short(sponsor)} is no sponsor"
    if draft.get("rotated", subject) is not None or draft.get("frozen", subject) is not None:
        return f"{short(subject)} cannot be admitted: its key is {'frozen' if draft.get('frozen', subject) else 'gone'}"
    words = endorsements(draft, subject)
    before = words.get(sponsor, 0)
    if before | roles == before:
        return f"{short(sponsor)} has endorsed {short(subject)} for this already"
    _put_endorsements(draft, subject, {**words, sponsor: before | roles})
    _grant(draft, subject, needed)
    return None


def leave(draft: Draft, entry: Entry) -> str | None:
    """The author gives roles up, and with them the endorsements: coming back takes new ones."""
    roles = Roles(*entry.payload).roles  # type: ignore[arg-type]  # shape checked by parse
    asked, has, since = _member(draft, entry.author)
    if not (asked | has) & roles:
        return "it neither has nor asks for what it gives up"
    _put(draft, entry.author, asked & ~roles, has & ~roles, since)
    words = endorsements(draft, entry.author)
    _put_endorsements(draft, entry.author, {sponsor: before & ~roles for sponsor, before in words.items()})
    return None


def rotate(draft: Draft, entry: Entry) -> str | None:
    """Roles, endorsements, what it owns and what it earned, good or bad, go to the new key; the old one is silent."""
    old = entry.author
    new, consent = Rotation(*entry.payload)  # type: ignore[arg-type]  # shape checked by parse
    if not is_consent(entry.net, old, new, consent):
        return f"the new key {short(new)} did not sign its consent"
    known = (draft.get(tag, new) for tag in ("member", "frozen", "rotated", "incarnation", "stake", "release"))
    if new == old or any(value is not None for value in known):
        return f"the new key {short(new)} is known already"
    member, balance = draft.get("member", old), draft.number("balance", old)
    draft.put((new,), "rotated", old)
    if member is not None:
        draft.put(member, "member", new)
        draft.remove("member", old)
    _put_endorsements(draft, new, endorsements(draft, old))
    _put_endorsements(draft, old, {})
    if balance:
        draft.put((draft.number("balance", new) + balance,), "balance", new)
        draft.remove("balance", old)
    for tag in ("stake", "release", "reputation", "lapse", "standing", "caught"):
        value = draft.get(tag, old)
        if value is not None:
            draft.put(value, tag, new)
            draft.remove(tag, old)
    return None


def resume(draft: Draft, entry: Entry) -> str | None:
    """The author goes on in a later incarnation, if others vouch for where the one before ended."""
    incarnation, seq, head, rows = Resumption(*entry.payload)  # type: ignore[arg-type]  # shape checked by parse
    now = draft.number("incarnation", entry.author)
    if incarnation != now or entry.incarnation <= now:
        return f"expected to leave incarnation {now} for a later one, got {incarnation} for {entry.incarnation}"
    final = draft.get("feed", entry.author, incarnation)
    if final is not None:
        next_seq, final_head = final
        assert isinstance(next_seq, int)
        if seq < next_seq - 1 or (seq == next_seq - 1 and head != final_head):
            return f"the feed is final up to {short_head(final_head)} at seq {next_seq - 1}, after what it says"
    wrong = _doubt(draft, entry, _rows(rows), (incarnation, seq, head))
    if wrong is None:
        draft.put((entry.incarnation,), "incarnation", entry.author)
    return wrong


def _doubt(look: Look, entry: Entry, rows: list[tuple[NodeId, bytes]], place: tuple[int, int, bytes]) -> str | None:
    """Why the acknowledgements are not enough. Stops at the first bad one: a liar is not to cost many signatures."""
    needed, others = acknowledgements_needed(look, entry.author)
    if len(rows) < needed:
        return f"{len(rows)} of {needed} needed validators acknowledge the last head"
    keys = [validator for validator, _ in rows]
    if keys != sorted(set(keys)) or not others.issuperset(keys):
        return "the acknowledgements are not of validators, each once, by key"
    for validator, signature in rows:
        if not is_acknowledged(validator, signature, entry.net, entry.author, *place):
            return f"the acknowledgement of {short(validator)} is not signed by it"
    return None


def acknowledgements_needed(look: Look, author: bytes) -> tuple[int, set[NodeId]]:
    """How many, and of whom: f + 1 of the validators, oneself left out; fewer only where there are no more others."""
    validators = set(validators_of(look))
    others = validators - {NodeId(author)}
    return min((len(validators) - 1) // 3 + 1, len(others)), others


def validators_of(look: Look) -> tuple[NodeId, ...]:
    """Those who vote at the next height, ascending."""
    return tuple(NodeId(v) for v in look.get("validators") or () if isinstance(v, bytes))


def next_validators(look: Look) -> tuple[NodeId, ...]:
    """Who votes in the next epoch: the present ones that still may, under their present keys, and those admitted since.

    Less than a third of them changes at a time (one, if that is none), the convicted first, then those who leave, then
    those who come, each by key; and one stays whatever happens.
    """
    before = validators_of(look)
    allowed = max(1, (len(before) - 1) // 3)
    convicted = [v for v in before if look.get("frozen", v) is not None]
    keeps = [v for v in before if v not in convicted]
    leaving = [v for v in keeps if not granted(look, present(look, v)) & VALIDATOR]
    may = sorted({NodeId(parts[0]) for parts, _ in look.items("member") if granted(look, parts[0]) & VALIDATOR})
    present_keys = {present(look, v) for v in before}
    coming = [v for v in may if v not in present_keys]
    out = (convicted + leaving)[:allowed]
    into = coming[: allowed - len(out)]
    stay = {present(look, v) if v not in convicted + leaving else v for v in before if v not in out}
    return tuple(sorted(stay | set(into))) or before


def freeze(draft: Draft, node: bytes, kind: int, incarnation: int, ceiling: int) -> None:
    """The node is convicted: no role, no pay, no entry after `ceiling` of the feed of that incarnation; for good.

    The keys that took over from it are convicted with it.
    """
    draft.put((kind, incarnation, ceiling), "frozen", node)
    successor = present(draft, node)
    if successor != node and draft.get("frozen", successor) is None:
        draft.put((kind, 0, draft_last(draft, successor, 0)), "frozen", successor)


def draft_last(look: Look, author: bytes, incarnation: int) -> int:
    """The last final seq of a feed; -1 for none."""
    return look.number("feed", author, incarnation) - 1


EFFECTS: dict[str, Callable[[Draft, Entry, int], str | None]] = {
    "join": join,
    "endorse": endorse,
    "leave": lambda draft, entry, _: leave(draft, entry),
    "key.rotate": lambda draft, entry, _: rotate(draft, entry),
}
"""By kind, but for "resume", which is heard from an incarnation that has no effect yet."""


def short_head(head: Any) -> str:
    return short(head) if isinstance(head, bytes) else repr(head)


# -------------------------------------------------------------------------------------------------- the records


def _member(look: Look, node: bytes) -> tuple[int, int, int]:
    """Roles asked for, roles granted, log index of the first grant (0: none or the genesis)."""
    value = look.get("member", node)
    if value is None:
        return 0, 0, 0
    asked, has, since = value
    assert isinstance(asked, int)
    assert isinstance(has, int)
    assert isinstance(since, int)
    return asked, has, since


def _put(draft: Draft, node: bytes, asked: int, has: int, since: int) -> None:
    if asked or has:
        draft.put((asked, has, since), "member", node)
    else:
        draft.remove("member", node)


def _grant(draft: Draft, node: bytes, needed: int) -> None:
    """Give the roles that are asked for and endorsed by enough different sponsors."""
    asked, has, since = _member(draft, node)
    speak: dict[NodeId, int] = {}
    for sponsor, roles in endorsements(draft, node).items():
        who = present(draft, sponsor)
        speak[who] = speak.get(who, 0) | roles
    for bit in ROLES:
        if asked & bit and not has & bit and sum(1 for roles in speak.values() if roles & bit) >= needed:
            has |= bit
    if has != _member(draft, node)[1]:
        _put(draft, node, asked, has, since or draft.index)


def endorsements(look: Look, node: bytes) -> dict[bytes, int]:
    """Who has spoken for the node, and for which roles."""
    rows: Any = look.get("endorsed", node) or ()
    return dict(rows)


def _put_endorsements(draft: Draft, node: bytes, words: dict[bytes, int]) -> None:
    rows = tuple((sponsor, roles) for sponsor, roles in sorted(words.items()) if roles)
    if rows:
        draft.put(rows, "endorsed", node)
    else:
        draft.remove("endorsed", node)


def _rows(rows: Any) -> list[tuple[NodeId, bytes]]:
    return [(NodeId(validator), signature) for validator, signature in rows]
