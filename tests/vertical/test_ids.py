"""Ids in one form: the rules' laws, and messages for what cannot be an id."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import ConfigError
from p2pfl.vertical.align import ids
from p2pfl.vertical.align.ids import IdRules, normalise

rules = st.builds(IdRules, st.booleans(), st.booleans(), st.booleans())


@settings(max_examples=300)
@given(rules, st.text(max_size=12))
def test_the_normal_form_is_a_fixed_point(rule: IdRules, text: str) -> None:
    once = rule.apply(text)
    assert rule.apply(once) == once


@pytest.mark.parametrize(
    ("one", "other"),
    [("A-17", " a-17\t"), ("１２", "12"), ("é", "e\u0301"), ("ﬁx", "FIX"), ("Straße", "STRASSE"), ("\u00a0x", "X")],
)
def test_writings_of_one_id_meet(one: str, other: str) -> None:
    assert IdRules().apply(one) == IdRules().apply(other)
    assert IdRules(False, False, False).apply(one) != IdRules(False, False, False).apply(other)


def test_ids_stay_in_the_order_of_the_rows() -> None:
    assert normalise(["b", "A", "c"], IdRules(), "t") == [b"b", b"a", b"c"]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ([], "t: expected ids to align, got none"),
        (["a", " "], "t, row 2: expected an id, got an empty one"),
        (["a", "b", "A "], "t: duplicate id in row 1 and row 3: 'a' and 'A ', the same after normalisation"),
        (["a", "b", "a"], "t: duplicate id in row 1 and row 3: 'a'; expected every id once"),
        (["\ud800"], "t, row 1: expected an id of Unicode characters"),
        (["x" * 1025], "t, row 1: expected an id of at most 1024 bytes, got 1025"),
    ],
)
def test_what_is_no_id_is_refused_in_one_line(texts: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        normalise(texts, IdRules(), "t")
    assert str(caught.value).startswith(says)


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(normalise(["x" * 1024], IdRules(), "t")[0]) == 1024
    monkeypatch.setattr(ids, "ALIGN_IDS_MAX", 2)
    assert len(normalise(["a", "b"], IdRules(), "t")) == 2
    with pytest.raises(ConfigError, match="at most 2 ids, got 3"):
        normalise(["a", "b", "c"], IdRules(), "t")
