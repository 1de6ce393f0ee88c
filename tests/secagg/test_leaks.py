"""What colluders see is what docs/secure_cells.md says: the sum of the others, and nothing when one is left."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.noise import derive, root
from p2pfl.secagg import shares
from p2pfl.secagg.cell import slices
from p2pfl.secagg.masks import Stream, apply_streams, words_of
from p2pfl.secagg.statements import Step

Make = Callable[..., Any]


def pair_streams(made: Any, colluders: set[bytes], who: bytes) -> list[Stream]:
    """The masks of `who` that colluders know: theirs with it."""
    found = []
    for other in colluders:
        stream = made.members[other]._pair(made.members[other]._mask, other, who, -1)
        found.append(Stream(stream.seed, stream.sign))
    return found


def test_two_honest_members_stay_hidden_from_all_others(town: Make) -> None:
    """c - 2 colluders with every key of theirs and every message: an honest vector is still under a stream that is
    opened to nobody, and what they have learned is the sum of the two."""
    made = town(6, 4000, 5)
    made.run()
    honest, colluders = set(made.cell.members[:2]), set(made.cell.members[2:])
    first, second = sorted(honest)
    words = {who: made.masked[who].copy() for who in honest}
    for who in honest:
        secret = made.members[who]._self  # opened to all, since it survived
        apply_streams(words[who], [Stream(secret, -1), *_minus(made, colluders, who)])
    plain = {who: made.grid.encode(made.vectors[who], derive(root(made.seed), "rounding", who)) for who in honest}
    assert not np.array_equal(words[first], plain[first])
    assert is_uniform(words[first])
    assert is_uniform(words[second])
    assert np.array_equal(words[first] + words[second], plain[first] + plain[second])


def test_all_but_one_see_the_last_one(town: Make) -> None:
    """As with every sum: said in the docs, and the reason for noise beneath it."""
    made = town(4, 400, 6)
    made.run()
    last, *others = made.cell.members
    total = made.means[last] * 4
    known = np.sum([made.vectors[who] for who in others], axis=0)
    assert np.abs(total - known - made.vectors[last]).max() < 4 * made.grid.unit


def _minus(made: Any, colluders: set[bytes], who: bytes) -> list[Stream]:
    """Takes off what `who` added for its pairs with colluders."""
    found = []
    for other in colluders:
        pair = made.members[other]._pair(made.members[other]._mask, other, who, 1)  # as the colluder adds it
        found.append(pair)  # the honest one added the opposite
    return found


def is_uniform(words: np.ndarray[Any, Any]) -> bool:
    """The top byte's counts do not differ from uniform by six standard deviations of chi-square."""
    counts = np.bincount(words >> np.uint32(24), minlength=256)
    expected = len(words) / 256
    chi = float(((counts - expected) ** 2 / expected).sum())
    return abs(chi - 255) < 6 * (2 * 255) ** 0.5


def test_no_member_ever_says_both_shares_of_one_dealer(town: Make) -> None:
    made = town(7, 40, 7)
    made.gone = {next(m for m in made.cell.members if m != made.cell.chair): Step.HELD}
    made.run()
    for statement in made.said:
        if statement.message.step == Step.ANSWERS:
            _, answered = statement.message.payload
            assert len(answered) == 7  # one for each dealer, of one kind
    assert len([s for s in made.said if s.message.step == Step.ANSWERS]) == 5


@settings(max_examples=30)
@given(st.integers(2, 10), st.data())
def test_shares_below_the_threshold_fit_every_secret(count: int, data: st.DataObject) -> None:
    """For t - 1 shares there is, for any other secret, a polynomial through them: they say nothing."""
    threshold = data.draw(st.integers(2, count))
    one, other = (data.draw(st.binary(min_size=32, max_size=32)) for _ in range(2))
    dealt = shares.split(one, threshold, count, derive(root(1), "coins"))
    few = {holder: int.from_bytes(dealt[holder], "big") for holder in range(threshold - 1)}
    points = {0: int.from_bytes(other, "big")} | {holder + 1: value for holder, value in few.items()}
    last = _through(points, threshold)
    completed = {holder: dealt[holder] for holder in few} | {threshold - 1: last.to_bytes(33, "big")}
    assert shares.join(completed, threshold) == other


def _through(points: dict[int, int], at: int) -> int:
    total, p = 0, shares.PRIME
    for x, y in points.items():
        weight = y
        for z in points:
            if z != x:
                weight = weight * (at - z) * pow(x - z, -1, p) % p
        total += weight
    return total % p


def test_masked_words_of_zeros_are_uniform(town: Make) -> None:
    made = town(4, 20000, 8)
    for who in made.vectors:
        made.vectors[who][:] = 0.0
    made.run()
    assert all(is_uniform(words) for words in made.masked.values())
    assert is_uniform(words_of(root(3), 20000))


def test_a_wrong_sum_moves_its_slice_for_everybody_alike_and_opens_nothing_more(town: Make, mean_of: Make) -> None:
    """The one lie that nobody is named for: what it can do, and what it cannot."""
    honest, forged = town(5, 40, 3), town(5, 40, 3)
    liar = forged.cell.members[1]
    forged.forge = lambda who, words: words + np.uint32(1 << 28) if who == liar else words
    honest.run()
    forged.run()
    assert [statement.raw for statement in forged.said] == [statement.raw for statement in honest.said]
    means = [forged.means[who] for who in forged.cell.members]
    assert all(np.array_equal(means[0], mean) for mean in means)
    off = np.abs(means[0] - mean_of(forged, forged.cell.members)) > forged.grid.unit
    assert set(np.flatnonzero(off)) == set(slices(40, 5)[1])
    assert forged.blamed() == {}
