"""Laws of the averaged numbers: sums are kept by honest exchanges, pulls are bounded, the end is common."""

from hypothesis import given
from hypothesis import strategies as st

from p2pfl.horizontal.terms.averages import NEVER, PROGRESS_PULL_MAX, SAMPLES_RATIO_MAX, Averages

ROUNDS = 100
near = st.floats(40.0, 44.0)


@given(near, near, st.floats(10, 30), st.floats(10, 30), st.floats(0, 0.4), st.floats(0, 0.4))
def test_an_exchange_keeps_the_sums(p: float, q: float, s: float, t: float, a: float, b: float) -> None:
    one, two = Averages(p, s, a), Averages(q, t, b)
    said, heard = one.stated(), two.stated()
    after, other = one.met(said, heard, ROUNDS), two.met(heard, said, ROUNDS)
    assert abs(after.progress + other.progress - (p + q)) < 1e-9
    assert abs(after.samples + other.samples - (s + t)) < 1e-9
    assert abs(after.score + other.score - (a + b)) < 1e-9


@given(near, near, st.integers(0, 5))
def test_what_happens_between_saying_and_landing_is_kept(p: float, q: float, phases: int) -> None:
    said, heard = Averages(p).stated(), Averages(q).stated()
    later = Averages(p).trained(phases).met(said, heard, ROUNDS)
    assert abs(later.progress - (Averages(p).met(said, heard, ROUNDS).progress + phases)) < 1e-9


@given(st.floats(0, 1e6), st.floats(1e-9, 1e15), st.floats(-1e15, 1e15))
def test_one_message_moves_by_a_bounded_amount(progress: float, samples: float, score: float) -> None:
    honest = Averages(50.0, 20.0, 0.5)
    liar = Averages(progress, samples, score)
    after = honest.met(honest.stated(), liar.stated(), ROUNDS)
    assert abs(after.progress - 50.0) <= PROGRESS_PULL_MAX * ROUNDS + 1e-9
    assert 20.0 / SAMPLES_RATIO_MAX <= after.samples <= 20.0 * SAMPLES_RATIO_MAX
    assert abs(after.score - 0.5) <= 0.25 + 1e-9


def test_a_score_enters_as_its_difference() -> None:
    one, two = Averages().judged(0.4), Averages().judged(0.8)
    said, heard = one.stated(), two.stated()
    one, two = one.met(said, heard, ROUNDS), two.met(heard, said, ROUNDS)
    one = one.judged(0.6)
    assert abs(one.score + two.score - (0.6 + 0.8)) < 1e-12


def test_the_earliest_stop_wins_but_never_before_the_next_round() -> None:
    one = Averages(10.0).stopping(30)
    assert one.met(one.stated(), Averages(10.0).stopping(20).stated(), ROUNDS).stop_at == 20
    assert one.met(one.stated(), Averages(10.0, stop_at=0).stated(), ROUNDS).stop_at == 11
    assert Averages().stop_at == NEVER


def test_rows_are_weighed() -> None:
    mine = Averages(10.0, 10.0, 0.0)
    others = [Averages(11.0, 14.0, 0.2).stated(), Averages(12.0, 6.0, 0.4).stated()]
    after = mine.gathered(mine.stated(), others, [0.25, 0.5], ROUNDS)
    assert abs(after.progress - (10 + 0.25 * 1 + 0.5 * 2)) < 1e-12
    assert abs(after.samples - (10 + 0.25 * 4 - 0.5 * 4)) < 1e-12
