"""Credits that answer for their owner: locked, set free with a delay, burned. Pure; knows drafts; knows no rule.

A stake is credits that left a balance by "stake.lock". "stake.release" begins to take some out: they are free
`RELEASE_WINDOWS` accounting windows later, and until then they can be burned like the rest. What is burned is gone for
everybody: the row `burned` counts it, so that at every height

    issued = balances + stakes + credits on release + budgets of tasks + burned

Who is convicted of a fork or a double vote loses all of it. For less, the window keeps *lapses* (an opened seal that
does not fit, a commitment that was never opened): what they cost is for the rule in force to say.
"""

from collections.abc import Iterator

from p2pfl.core.ids import NodeId, short
from p2pfl.ledger.feeds.bounds import RELEASE_WINDOWS, RELEASES_OPEN_MAX
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.kinds import Amount
from p2pfl.ledger.outcome.rules import Lapses
from p2pfl.ledger.outcome.state import Draft, State

Look = Draft | State
Releases = tuple[tuple[int, int], ...]


def lock(draft: Draft, entry: Entry) -> str | None:
    """Credits of the author's balance become stake."""
    credits = Amount(*entry.payload).credits  # type: ignore[arg-type]  # shape checked by parse
    has = draft.number("balance", entry.author)
    if credits > has:
        return f"{short(entry.author)} has {has} credits, and would stake {credits}"
    set_number(draft, has - credits, "balance", entry.author)
    set_number(draft, draft.number("stake", entry.author) + credits, "stake", entry.author)
    return None


def release(draft: Draft, entry: Entry) -> str | None:
    """Part of the author's stake will be free."""
    credits = Amount(*entry.payload).credits  # type: ignore[arg-type]  # shape checked by parse
    has, rows = draft.number("stake", entry.author), releases_of(draft, entry.author)
    if credits > has:
        return f"{short(entry.author)} has {has} credits at stake, and would take {credits} out"
    if len(rows) == RELEASES_OPEN_MAX:
        return f"{RELEASES_OPEN_MAX} parts of its stake are on release already"
    number = draft.get("window") or (0, 1)
    assert isinstance(number[0], int)
    set_number(draft, has - credits, "stake", entry.author)
    _set_releases(draft, entry.author, (*rows, (number[0] + RELEASE_WINDOWS, credits)))
    return None


def free(draft: Draft, window: int) -> None:
    """At the end of `window`: what was on release for long enough is balance again."""
    for (node,), _ in draft.items("release"):
        rows = releases_of(draft, node)
        due = sum(credits for until, credits in rows if until <= window)
        if due:
            set_number(draft, draft.number("balance", node) + due, "balance", node)
            _set_releases(draft, node, tuple(row for row in rows if row[0] > window))


def burn(draft: Draft, node: bytes, credits: int) -> int:
    """Take up to so many credits of the node's stake, then of what is on release, latest first. Returns how many."""
    left = credits
    stake = draft.number("stake", node)
    taken = min(stake, left)
    set_number(draft, stake - taken, "stake", node)
    left -= taken
    kept: list[tuple[int, int]] = []
    for until, amount in sorted(releases_of(draft, node), reverse=True):
        taken = min(amount, left)
        left -= taken
        if amount > taken:
            kept.append((until, amount - taken))
    _set_releases(draft, node, tuple(sorted(kept)))
    if credits > left:
        draft.put((draft.number("burned") + credits - left,), "burned")
    return credits - left


def burn_all(draft: Draft, node: bytes) -> int:
    """The convicted lose all that answered for them."""
    return burn(draft, node, held(draft, node))


def held(look: Look, node: bytes) -> int:
    """Credits that can still be burned: at stake, and on release."""
    return look.number("stake", node) + sum(credits for _, credits in releases_of(look, node))


def releases_of(look: Look, node: bytes) -> Releases:
    """Rows (first window at whose end they are free, credits)."""
    return look.get("release", node) or ()  # type: ignore[return-value]  # only `_set_releases` writes it


def staked(look: Look) -> Iterator[NodeId]:
    """Everybody who has something at stake or on release."""
    yield from sorted({NodeId(parts[0]) for tag in ("stake", "release") for parts, _ in look.items(tag)})


def total(look: Look) -> int:
    """Of all nodes."""
    return sum(held(look, node) for node in staked(look))


# -------------------------------------------------------------------------------------------------- lapses


def note_bad_reveal(draft: Draft, node: bytes) -> None:
    """The node opened a commitment with something that it did not commit to."""
    lapses = lapses_of(draft, node)
    draft.put((lapses.bad_reveals + 1, lapses.withheld), "lapse", node)


def note_withheld(draft: Draft, node: bytes) -> None:
    """The node committed to something and never opened it."""
    lapses = lapses_of(draft, node)
    draft.put((lapses.bad_reveals, lapses.withheld + 1), "lapse", node)


def lapses_of(look: Look, node: bytes) -> Lapses:
    """Of the open window."""
    value = look.get("lapse", node)
    return Lapses(*value) if value else Lapses()  # type: ignore[arg-type]  # only the two above write it


def forget_lapses(draft: Draft) -> None:
    """They belong to the window that closes."""
    for (node,), _ in draft.items("lapse"):
        draft.remove("lapse", node)


def set_number(draft: Draft, number: int, tag: str, *parts: bytes | int) -> None:
    """A count that is no row at zero."""
    assert number >= 0
    if number:
        draft.put((number,), tag, *parts)
    else:
        draft.remove(tag, *parts)


def _set_releases(draft: Draft, node: bytes, rows: Releases) -> None:
    if rows:
        draft.put(rows, "release", node)
    else:
        draft.remove("release", node)
