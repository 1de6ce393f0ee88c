"""From commits to scores in the state: who is drawn, what counts when, and what evaluators together say."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import NodeId, short
from p2pfl.ledger.check.explain import explain
from p2pfl.ledger.check.source import FileSource, View
from p2pfl.ledger.feeds.kinds import (
    COPIED,
    FAIR,
    SUBJECTS_MAX,
    UNFELT,
    UNREVEALED,
    WIRE,
    DrawSalt,
    ScoreCommit,
    ScoreReveal,
    UpdateCommit,
)
from p2pfl.ledger.outcome import draw as draw_module
from p2pfl.ledger.outcome.contract import Outcome
from p2pfl.ledger.outcome.draw import (
    AUDITORS,
    EVALUATORS_MAX,
    LISTENERS,
    MILLION,
    STANDING_START,
    SUBJECTS_PER_AUDIT,
    Draw,
    draw,
    draw_of,
    salt_digest,
    seed_of,
    standing_of,
)
from p2pfl.ledger.outcome.scores import LASTING, score_commitment
from p2pfl.ledger.stores.reader import open_reader

N = 6
SALT = b"\x05" * 32
Rows = list[tuple[bytes, int, int]]


def ids(count: int) -> list[NodeId]:
    return [NodeId(bytes([number]) * 32) for number in range(count)]


# ------------------------------------------------------------------------------------------------ the draw


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.integers(1, 40))
def test_a_draw_is_bounded_and_nobody_audits_itself(seed: bytes, count: int) -> None:
    drawn = draw(seed, dict.fromkeys(ids(count), STANDING_START))
    assert len(set(drawn.evaluators)) == len(drawn.evaluators) == min(count, EVALUATORS_MAX)
    assert len(set(drawn.subjects)) == len(drawn.subjects) == min(count, SUBJECTS_MAX)
    for subject, auditors in drawn.audits.items():
        assert subject in drawn.subjects
        assert subject not in auditors
        assert set(auditors) <= set(drawn.evaluators)
        assert len(auditors) <= AUDITORS
    assert set(drawn.listeners) == set(drawn.subjects)
    for subject, listeners in drawn.listeners.items():
        assert set(listeners) <= set(drawn.evaluators) - {subject}
        assert len(listeners) == min(LISTENERS, len(drawn.evaluators) - (subject in drawn.evaluators))


def test_one_subject_in_so_many_is_audited() -> None:
    """An independent lot for each, so a small network is audited as often as a large one."""
    standings, seeds = dict.fromkeys(ids(8), STANDING_START), range(800)
    audited = sum(len(draw(seed.to_bytes(32, "big"), standings).audits) for seed in seeds)
    assert audited == pytest.approx(8 * len(seeds) / SUBJECTS_PER_AUDIT, rel=0.2)


def test_a_draw_has_its_golden_members() -> None:
    (vector,) = json.loads((Path(__file__).parents[2] / "vectors" / "valuation.json").read_text())["draws"]
    members = ids(20)
    drawn = draw(bytes.fromhex(vector["seed"]), {node: 1000 * (1 + number) for number, node in enumerate(members)})

    def first(nodes: Iterable[bytes]) -> list[int]:
        return [node[0] for node in nodes]

    assert (first(drawn.evaluators), first(drawn.subjects)) == (vector["evaluators"], vector["subjects"])
    for named, found in (("audits", drawn.audits), ("listeners", drawn.listeners)):
        assert {str(node[0]): first(told) for node, told in found.items()} == vector[named]
    assert drawn.audits


def test_standing_weighs() -> None:
    """Forty members, 15 drawn: one with a hundredth of the weight is drawn about a hundredth as often."""
    members = ids(40)
    standings = dict.fromkeys(members, MILLION) | {members[0]: MILLION // 100}
    counts: Counter[NodeId] = Counter()
    for number in range(300):
        counts.update(draw(bytes([number // 256, number % 256]) * 16, standings).evaluators)
    assert counts[members[0]] < 10
    assert min(counts[member] for member in members[1:]) > 70


def test_each_salt_counts_and_their_order_does_not() -> None:
    one, two, three = ids(3)
    salts = {one: b"a" * 32, two: b"b" * 32, three: b"c" * 32}
    seed = seed_of(b"r" * 32, salts)
    assert seed == seed_of(b"r" * 32, dict(reversed(salts.items())))
    assert seed != seed_of(b"s" * 32, salts)
    for left_out in salts:
        assert seed != seed_of(b"r" * 32, {node: salt for node, salt in salts.items() if node != left_out})


def test_a_leader_that_does_not_know_one_salt_gains_nothing_by_trying_blocks() -> None:
    """Of 64 roots it takes the one that spares it an audit and a listener, if the other's salt is what it guesses."""
    members, heard = ids(16), 0
    standings = dict.fromkeys(members, STANDING_START)
    me, foe, runs = members[0], members[2], 200

    def bad(drawn: Draw) -> bool:
        return me in drawn.audits or foe in drawn.listeners[me]

    for run in range(runs):
        guess = dict.fromkeys(members, b"g" * 32)
        true = guess | {members[1]: bytes([run]) * 32}
        roots = [bytes([run, number]) * 16 for number in range(64)]
        chosen = next(root for root in roots if not bad(draw(seed_of(root, guess), standings)))
        heard += bad(draw(seed_of(chosen, true), standings))
    assert 0.13 < heard / runs < 0.33  # three listeners of fifteen, and one audit in 32


# ------------------------------------------------------------------------------------------------ window by window


class Round:
    """Six workers who take part in the valuing of window 0, over the heights of a network with windows of 2."""

    def __init__(self, make_network: type[Any], **terms: Any) -> None:
        self.net = make_network(n=N, authorities=N, validators=1, window=2, epoch=64, **terms)
        self.keys = [signer.node for signer in self.net.nodes]

    def commits(self, *absent: int, twice: int = -1) -> None:
        for node in (*range(N), twice):
            if node not in (-1, *absent):
                payload = UpdateCommit(bytes([node]) * 32, salt_digest(self.salt(node)), 0, 9)
                self.net.say(node, "update.commit", payload)
        self.window()

    def salts(self, *absent: int, window: int = 0) -> Draw:
        for node in range(N):
            if node not in absent:
                self.net.say(node, "draw.salt", DrawSalt(window, self.salt(node)))
        self.window()
        drawn = draw_of(self.net.tip.state, window)
        assert drawn is not None
        return drawn

    def hide(self, said: dict[int, Rows], window: int = 0) -> None:
        for node, rows in said.items():
            hidden = score_commitment(self.keys[node], window, SALT, self.reveal(rows, window)[2:])
            self.net.say(node, "score.commit", ScoreCommit(window, hidden))
        self.window()

    def reveals(self, said: dict[int, Rows], window: int = 0) -> Outcome:
        for node, rows in said.items():
            self.net.say(node, "score.reveal", self.reveal(rows, window))
        return self.window()

    @staticmethod
    def reveal(rows: Rows, window: int) -> ScoreReveal:
        return ScoreReveal(window, SALT, bytes(32), "exact", 64, 30, tuple(rows))

    @staticmethod
    def salt(node: int) -> bytes:
        return bytes([100 + node]) * 32

    def window(self) -> Outcome:
        self.net.close()
        outcome: Outcome = self.net.close()
        return outcome

    def rows(self, evaluator: int, micro: int = 1000, finding: int = FAIR) -> Rows:
        return [(key, micro, finding) for node, key in enumerate(self.keys) if node != evaluator]

    def scores(self, outcome: Outcome) -> dict[int, int]:
        assert outcome.settlement is not None
        return {self.keys.index(node): micro for node, micro in outcome.settlement.window.scores.items()}

    def vain(self) -> list[str]:
        return [why for outcome in self.net.outcomes for why in outcome.vain.values()]

    def standing(self, node: int) -> int:
        return standing_of(self.net.tip.state, self.keys[node])[0]


def run(round_: Round, said: dict[int, Rows], twice: int = -1) -> dict[int, int]:
    round_.commits(twice=twice)
    round_.salts()
    round_.hide(said)
    return round_.scores(round_.reveals(said))


def test_scores_are_lower_medians_three_windows_later(make_network: type[Any]) -> None:
    round_ = Round(make_network)
    said = {node: round_.rows(node, micro=100 * node) for node in range(N)}
    scores = run(round_, said)
    others = {node: sorted(100 * other for other in range(N) if other != node) for node in range(N)}
    assert scores == {node: values[2] for node, values in others.items()}
    assert round_.net.outcomes[-1].settlement.window.evaluators == tuple(sorted(round_.keys))
    assert round_.vain() == []
    state = round_.net.tip.state
    assert state.get("score", 0, round_.keys[0]) == (scores[0], 5, FAIR)
    assert not any(state.items(tag) for tag in ("commit", "salt", "hidden", "opinion", "draw"))


def test_who_withholds_its_salt_is_out_and_loses_standing(make_network: type[Any]) -> None:
    round_ = Round(make_network)
    round_.commits()
    drawn = round_.salts(2)
    assert round_.keys[2] not in (*drawn.evaluators, *drawn.subjects)
    assert round_.standing(2) == STANDING_START // 2


def test_evaluators_that_vanish_are_waited_for_by_nobody(make_network: type[Any]) -> None:
    """One commits and never reveals, one does nothing: three speak, and that is enough."""
    round_ = Round(make_network)
    round_.commits()
    round_.salts()
    said = {node: round_.rows(node) for node in range(4)}
    round_.hide(said)
    scores = round_.scores(round_.reveals({node: said[node] for node in range(3)}))
    assert scores == dict.fromkeys((3, 4, 5), 1000)  # the three who spoke were each heard of by two only
    assert round_.standing(0) > STANDING_START > round_.standing(3) == round_.standing(5)


def test_nobody_is_scored_by_too_few(make_network: type[Any]) -> None:
    round_ = Round(make_network)
    assert run(round_, {node: round_.rows(node) for node in range(2)}) == {}


@pytest.mark.parametrize("step", ["update.commit", "draw.salt", "score.commit", "score.reveal"])
def test_what_comes_twice_or_late_has_no_effect_and_says_why(make_network: type[Any], step: str) -> None:
    round_ = Round(make_network)
    said = {node: round_.rows(node) for node in range(N)}
    again = {
        "draw.salt": DrawSalt(0, Round.salt(0)),
        "score.commit": ScoreCommit(0, bytes(32)),
        "score.reveal": round_.reveal(said[0], 0),
    }
    scores = run(round_, said, twice=0 if step == "update.commit" else -1)
    if step in again:
        round_.net.say(0, step, again[step])
        round_.window()
    assert len(round_.vain()) == 1
    assert ("already" if step == "update.commit" else "window 0") in round_.vain()[0]
    assert len(scores) == N


def test_a_reveal_must_match_its_commit(make_network: type[Any]) -> None:
    round_ = Round(make_network)
    said = {node: round_.rows(node) for node in range(N)}
    round_.commits()
    round_.salts()
    round_.hide(said)
    changed = said | {4: round_.rows(4, micro=999_999)}
    scores = round_.scores(round_.reveals(changed))
    assert round_.vain() == ["the scores are not those that it committed to"]
    assert set(scores.values()) == {1000}
    assert round_.standing(4) == STANDING_START // 2


def test_a_salt_must_match_its_commit(make_network: type[Any]) -> None:
    round_ = Round(make_network)
    round_.commits(5)
    round_.net.say(0, "draw.salt", DrawSalt(0, b"n" * 32))
    round_.net.say(5, "draw.salt", DrawSalt(0, b"n" * 32))
    round_.salts(0, 5)
    assert round_.vain() == ["the salt is not the one that it committed to", "it did not commit in window 0"] or (
        sorted(round_.vain()) == ["it did not commit in window 0", "the salt is not the one that it committed to"]
    )


def test_nobody_scores_itself(make_network: type[Any]) -> None:
    round_ = Round(make_network)
    said = {node: round_.rows(node) for node in range(N)}
    said[1] = [(round_.keys[1], 10**9, FAIR)]
    scores = run(round_, said)
    assert round_.vain() == ["it scores somebody who is not drawn, twice, or itself"]
    assert scores[1] == 1000


def test_a_majority_that_found_a_copy_makes_it_worthless(make_network: type[Any]) -> None:
    round_ = Round(make_network)
    said = {node: round_.rows(node) for node in range(N)}
    for node in (0, 1, 2):  # of the five who speak of 5
        said[node] = [row if row[0] != round_.keys[5] else (row[0], row[1], COPIED) for row in said[node]]
    for node in (0, 1):  # of 4 only two say so
        said[node] = [row if row[0] != round_.keys[4] else (row[0], row[1], COPIED) for row in said[node]]
    scores = run(round_, said)
    assert (scores[5], scores[4]) == (0, 1000)


def test_only_listeners_convict_of_work_that_nobody_felt(make_network: type[Any]) -> None:
    round_ = Round(make_network)
    round_.commits()
    drawn = round_.salts()
    subject, other = drawn.subjects[:2]
    said = {node: round_.rows(node) for node in range(N)}
    for node, key in enumerate(round_.keys):  # two listeners of one; of the other all that do not listen to it
        against = [subject] if key in drawn.listeners[subject][:2] else []
        against += [other] if key not in drawn.listeners[other] else []
        said[node] = [row if row[0] not in against else (row[0], row[1], UNFELT) for row in said[node]]
    round_.hide(said)
    scores = round_.scores(round_.reveals(said))
    assert (scores[round_.keys.index(subject)], scores[round_.keys.index(other)]) == (0, 1000)
    assert round_.net.tip.state.get("caught", subject) == (LASTING[UNFELT], UNFELT)


def test_only_auditors_convict_of_the_wire_and_it_lasts(
    make_network: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pfl.ledger.outcome.draw.SUBJECTS_PER_AUDIT", 1)
    chosen = draw_module.draw

    def one(*args: Any) -> Draw:
        drawn = chosen(*args)
        return drawn._replace(audits=dict([min(drawn.audits.items())]))

    monkeypatch.setattr("p2pfl.ledger.outcome.draw.draw", one)
    round_ = Round(make_network)
    round_.commits()
    drawn = round_.salts()
    audited = next(iter(drawn.audits))
    auditors = {round_.keys.index(node) for node in drawn.audits[audited]}
    said = {node: round_.rows(node) for node in range(N)}
    for node in range(N):  # all who are no auditors cry wire, of everybody
        if node not in auditors:
            said[node] = round_.rows(node, finding=WIRE)
    for node in sorted(auditors)[:2]:
        said[node] = [row if row[0] != audited else (row[0], row[1], WIRE) for row in said[node]]
    round_.hide(said)
    scores = round_.scores(round_.reveals(said))
    assert scores[round_.keys.index(audited)] == 0
    assert {micro for node, micro in scores.items() if round_.keys[node] != audited} == {1000}
    assert round_.net.tip.state.get("caught", audited) == (LASTING[WIRE], WIRE)


def test_liars_lose_weight_when_they_are_far_off_again(make_network: type[Any]) -> None:
    round_ = Round(make_network)
    honest = {node: round_.rows(node, micro=1000 + node) for node in range(N)}
    said = honest | {0: round_.rows(0, micro=500_000)}
    scores = run(round_, said)
    assert max(scores.values()) < 2000
    first = round_.standing(0)
    start = round_.net.tip.state.get("window")[0]
    round_.commits()
    round_.salts(window=start)
    round_.hide(said, window=start)
    round_.reveals(said, window=start)
    assert first == STANDING_START
    assert round_.standing(0) == STANDING_START // 2
    assert round_.standing(1) > STANDING_START


def why(round_: Round, node: int, folder: Path, window: int = 3) -> str:
    with open_reader(round_.net.write(folder / "node.db")) as reader:
        return "\n".join(explain(View(FileSource(reader)), round_.keys[node], window).lines)


def test_it_is_explained_to_everybody(make_network: type[Any], tmp_path: Path) -> None:
    """One is scored, one did not commit, one withheld its salt, one hid its scores, one is a copier."""
    round_ = Round(make_network)
    round_.commits(1)
    round_.salts(1, 2)
    said = {node: [row for row in round_.rows(node) if row[0] not in round_.keys[1:3]] for node in (0, 3, 4, 5)}
    for node in (0, 3, 4):
        said[node] = [row if row[0] != round_.keys[5] else (row[0], row[1], COPIED) for row in said[node]]
    round_.hide(said)
    round_.reveals({node: said[node] for node in (0, 3, 5)})
    texts = [why(round_, node, tmp_path / str(node)) for node in range(N)]
    assert "2 of 3 needed evaluators spoke of its work of window 0: it is not scored" in texts[0]
    assert "it was drawn to evaluate window 0, and did" in texts[0]
    assert "it committed to no work in window 0, whose scores are due: there is nothing to score" in texts[1]
    assert "did not show its salt in time: it was left out of the draw" in texts[2]
    assert "its work of window 0 is worth +0.001000; 3 evaluators said +0.0010, +0.0010, +0.0010" in texts[4]
    assert "committed to scores and did not reveal them in time" in texts[4]
    assert "2 of 3 needed" in texts[5]


def test_a_stall_between_commit_and_reveal_loses_nothing(make_network: type[Any], tmp_path: Path) -> None:
    """Nothing becomes final for a while: what was written meanwhile counts when it is final, in the same windows."""
    round_ = Round(make_network)
    round_.commits()
    round_.salts()
    said = {node: round_.rows(node) for node in range(N)}
    round_.hide(said)
    for node, rows in said.items():  # they all wait in the feeds; one more height makes them final
        round_.net.say(node, "score.reveal", round_.reveal(rows, 0))
    assert round_.scores(round_.window()) == dict.fromkeys(range(N), 1000)
    assert "is worth +0.001000" in why(round_, 0, tmp_path)


def test_who_vanishes_between_commit_and_showing_is_told_so(make_network: type[Any], tmp_path: Path) -> None:
    """It committed and showed its salt, and then nothing came from it: no work, and no scores of others."""
    round_ = Round(make_network)
    gone = [(round_.keys[5], 0, UNREVEALED)]
    said = {node: [row for row in round_.rows(node) if row[0] != round_.keys[5]] + gone for node in range(5)}
    assert run(round_, said)[5] == 0
    text = why(round_, 5, tmp_path)
    assert "its work of window 0 is worth +0.000000; 5 evaluators said" in text
    assert "it did not show its update: worth nothing" in text
    assert "it was drawn to evaluate window 0 and committed to no scores in time" in text


def test_evaluators_that_never_reveal_are_named(make_network: type[Any], tmp_path: Path) -> None:
    round_ = Round(make_network)
    round_.commits()
    round_.salts()
    said = {node: round_.rows(node) for node in range(N)}
    round_.hide(said)
    round_.reveals({node: said[node] for node in (0, 1, 2)})
    silent = ", ".join(short(key) for key in sorted(round_.keys[3:5]))
    assert f"drawn to evaluate it, and said nothing in time: {silent}\n" in why(round_, 5, tmp_path / "a")
    assert "committed to scores and did not reveal them in time" in why(round_, 3, tmp_path / "b")


def test_a_reveal_that_does_not_match_is_explained(make_network: type[Any], tmp_path: Path) -> None:
    round_ = Round(make_network)
    said = {node: round_.rows(node) for node in range(N)}
    round_.commits()
    round_.salts()
    round_.hide(said)
    round_.reveals(said | {4: round_.rows(4, micro=999_999)})
    text = why(round_, 4, tmp_path)
    assert "(score.reveal) had no effect: the scores are not those that it committed to" in text
    assert "committed to scores and did not reveal them in time" in text
    assert round_.standing(4) == STANDING_START // 2


def test_a_window_that_closes_in_a_stall_is_explained(make_network: type[Any], tmp_path: Path) -> None:
    """An hour without a final height between the commits of scores and their reveal: nobody is late for that."""
    round_ = Round(make_network)
    round_.commits()
    round_.salts()
    said = {node: round_.rows(node) for node in range(N)}
    round_.hide(said)
    round_.net.stood_still_ms += 3_600_000
    assert round_.scores(round_.reveals(said)) == dict.fromkeys(range(N), 1000)
    text = why(round_, 0, tmp_path)
    assert "finality stood still for 3601 s before height 7" in text
    assert "its work of window 0 is worth +0.001000" in text
    assert round_.vain() == []


def test_a_network_without_valuation_has_no_trace_of_it(make_network: type[Any]) -> None:
    net = make_network(window=2)
    net.sends(0, 1)
    for _ in range(10):
        net.close()
    state = net.tip.state
    assert not any(state.items(tag) for tag in ("commit", "draw", "score", "standing", "caught"))
