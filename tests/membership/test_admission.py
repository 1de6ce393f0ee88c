"""Who is let in and who is not: each refusal has a code, and a sentence that says what helps."""

from dataclasses import replace
from typing import Any

import pytest

from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError, Ignore, Reject
from p2pfl.membership.admission import Admission
from p2pfl.membership.bounds import CHAIN_MAX, REVOCATIONS_MAX
from p2pfl.membership.record import Record
from p2pfl.membership.statements import NOBODY, Statement, Tag, parse_statement, state
from p2pfl.membership.tokens import Token, issue, parse_text, parse_token
from p2pfl.wire.keyfile import Signer

NET, OTHER_NET = bytes(32), bytes([1]) * 32
BOSS, CLERK, LISTED, NEW, STRANGER = (Signer(bytes([i]) * 32) for i in range(1, 6))


def admission(mode: Any = "token") -> Admission:
    return Admission(NET, mode, frozenset({LISTED.node}), frozenset({BOSS.node}))


def record(signer: Signer = NEW, token: Token | None = None, **more: Any) -> Record:
    raw = token.raw if token is not None else b""
    made = Record(NET, signer.node, 1, bytes(16), ("http://x:1",), token=raw)
    return replace(made, **more).signed(signer)


def token(signer: Signer = BOSS, subject: NodeId = NEW.node, right: Any = "join", **more: Any) -> Token:
    return issue(signer, more.pop("net", NET), subject, right, 7, **more)


def code(door: Admission, shown: Record) -> str:
    with pytest.raises(Reject) as refused:
        door.check(shown)
    assert len(str(refused.value.detail)) > 20
    return refused.value.code


def told(door: Admission, tag: Tag, about: bytes = NOBODY, number: int = 0, by: Signer = BOSS) -> bool:
    said = parse_statement(state(by, tag, NET, about, number).raw)
    assert isinstance(said, Statement)
    return door.told(said)


# ------------------------------------------------------------------------------------------------ let in


def test_the_listed_need_no_token() -> None:
    for mode in ("listed", "token", "open"):
        admission(mode).check(record(LISTED))


def test_an_open_network_takes_anybody() -> None:
    admission("open").check(record(STRANGER))


def test_a_token_lets_its_subject_in() -> None:
    admission().check(record(token=token()))


def test_a_delegate_issues_too() -> None:
    above = token(subject=CLERK.node, right="issue")
    admission().check(record(token=token(CLERK, parent=above)))


# ------------------------------------------------------------------------------------------------ refused


def test_who_is_not_on_the_list() -> None:
    assert code(admission("listed"), record(token=token())) == "stranger"


def test_who_has_no_token() -> None:
    assert code(admission(), record()) == "no-token"


@pytest.mark.parametrize(
    "bad",
    [
        token(subject=STRANGER.node),
        token(STRANGER),
        token(net=OTHER_NET),
        token(CLERK, parent=token(STRANGER, CLERK.node, "issue")),
        token(CLERK, parent=token(BOSS, CLERK.node, "issue", net=OTHER_NET)),
    ],
    ids=["another's", "no authority's", "another network's", "a false delegate's", "a delegate's of elsewhere"],
)
def test_a_token_that_is_worth_nothing(bad: Token) -> None:
    assert code(admission(), record(token=bad)) == "token"


def test_a_token_ends_with_its_epoch_and_no_clock_is_asked() -> None:
    door, shown = admission(), record(token=token(last_epoch=2))
    for epoch in (1, 2):
        assert told(door, Tag.EPOCH, number=epoch)
        door.check(shown)
    assert told(door, Tag.EPOCH, number=3)
    assert code(door, shown) == "expired"
    assert not told(door, Tag.EPOCH, number=2), "epochs do not go back"
    assert door.epoch == 3


def test_a_token_ends_with_a_height() -> None:
    door, shown = admission(), record(token=token(last_height=10))
    door.height = 10
    door.check(shown)
    door.height = 11
    assert code(door, shown) == "expired"


def test_a_delegates_token_ends_with_the_delegates() -> None:
    above = token(subject=CLERK.node, right="issue", last_epoch=1)
    door, shown = admission(), record(token=token(CLERK, parent=above, last_epoch=9))
    told(door, Tag.EPOCH, number=2)
    assert code(door, shown) == "expired"


@pytest.mark.parametrize("what", ["token", "key", "delegate", "delegation"])
def test_what_was_revoked(what: str) -> None:
    above = token(subject=CLERK.node, right="issue")
    shown = token(CLERK, parent=above)
    about = {"token": shown.id, "key": NEW.node, "delegate": CLERK.node, "delegation": above.id}[what]
    door = admission()
    door.check(record(token=shown))
    assert told(door, Tag.REVOKED, about)
    assert code(door, record(token=shown)) == "revoked"
    assert not told(door, Tag.REVOKED, about), "said once is enough"


def test_a_listed_key_can_be_revoked_too() -> None:
    door = admission("listed")
    told(door, Tag.REVOKED, LISTED.node)
    assert code(door, record(LISTED)) == "revoked"


def test_banned_and_kicked() -> None:
    door = admission("open")
    door.banned.add(NEW.node)
    assert code(door, record()) == "banned"
    door.banned.clear()
    door.kicked.add(NEW.node)
    assert code(door, record()) == "kicked"


@pytest.mark.parametrize(("versions", "which"), [((2, 5), "this machine"), ((0, 0), "that machine")])
def test_another_version_is_refused_and_told_who_must_update(versions: tuple[int, int], which: str) -> None:
    door, shown = admission("open"), record(versions=versions)
    assert code(door, shown) == "version"
    with pytest.raises(Reject, match=f"update the software of {which}"):
        door.check(shown)
    door.check(record(versions=(1, 5)))


def test_another_network_is_refused() -> None:
    assert code(admission("open"), record(network=OTHER_NET)) == "network"


@pytest.mark.parametrize("tag", [Tag.EPOCH, Tag.REVOKED])
def test_only_authorities_speak_for_the_network(tag: Tag) -> None:
    with pytest.raises(Reject, match="no authority"):
        told(admission(), tag, NOBODY, 1, by=STRANGER)


def test_revocations_are_bounded() -> None:
    door = admission()
    signed = state(BOSS, Tag.REVOKED, NET, NOBODY)
    for number in range(REVOCATIONS_MAX):
        assert door.told(replace(signed, about=number.to_bytes(32, "big")))
    with pytest.raises(Ignore, match="too many"):
        door.told(replace(signed, about=b"\xff" * 32))


# ------------------------------------------------------------------------------------------------ tokens


def test_a_chain_has_an_end() -> None:
    above, signer = None, BOSS
    for depth in range(CHAIN_MAX):
        below = Signer(bytes([50 + depth]) * 32)
        above = token(signer, below.node, "issue", parent=above)
        signer = below
    with pytest.raises(ConfigError, match=f"more than {CHAIN_MAX}"):
        token(signer, parent=above)


def test_nobody_issues_by_anothers_token() -> None:
    above = token(subject=CLERK.node, right="issue")
    with pytest.raises(ConfigError, match="lets this key issue"):
        token(STRANGER, parent=above)
    with pytest.raises(ConfigError, match="lets this key issue"):
        token(CLERK, parent=token(subject=CLERK.node, right="join"))


def test_a_token_is_a_line_of_text() -> None:
    made = token(last_epoch=3)
    assert parse_text(made.text()) == made
    for text in ("", "p2pfl-token-v1 zz", "p2pfl-token-v1 00", made.text()[:-5]):
        with pytest.raises(ConfigError, match="not a join token"):
            parse_text(text)


def test_a_changed_token_is_none() -> None:
    raw = token(CLERK, parent=token(subject=CLERK.node, right="issue")).raw
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1
        with pytest.raises(Reject):
            parse_token(bytes(changed))
        with pytest.raises(Reject):
            parse_token(raw[:at])
