"""The Base-(k+1) graph: exact averages of any number of nodes in a few rounds of at most k peers. Pure; numbers only.

A round is a list of (u, v, weight). Three constructions, each from the one before:

    hyper-hypercube   n with no prime factor above k + 1, as a product of l factors up to k + 1: l rounds of groups
                      that average among themselves, the digits of a mixed-radix number in turn
    simple            n = a_1 (k+1)^p_1 + a_2 (k+1)^p_2 + ... in base k + 1: blocks average inside, then the later
                      blocks take their weight of the earlier ones, then the earlier ones average inside once more
    base              n = p q, p without prime factors above k + 1: p simple graphs of q nodes, then hyper-hypercubes
                      of one node each; or the simple graph, if that is shorter

After the last round every node has the exact mean, in at most 2 log_{k+1} n + 2 rounds (theorem 1), and every round is
doubly stochastic. For k = 1 every round is a set of pairs.

Source: Takezawa, Sato, Bao, Niwa, Yamada 2023, "Beyond exponential graph", algorithms 1 to 3.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, zip_longest

Share = tuple[int, int, Fraction]
Round = list[Share]


def compute_base_graph(n: int, k: int) -> list[Round]:
    """The rounds for nodes 0 to n-1, at most k peers each, 1 <= k < n."""
    simple = _simple(list(range(n)), k)
    smooth, rest = _smooth_part(n, k)
    if rest == 1 or smooth == 1:
        return simple
    blocks = [list(range(start, start + rest)) for start in range(0, n, rest)]
    rounds = _beside([_simple(block, k) for block in blocks])
    rounds += _beside([_hyper_hypercube(list(across), k) for across in zip(*blocks, strict=True)])
    return rounds if len(rounds) < len(simple) else simple


def _hyper_hypercube(nodes: Sequence[int], k: int) -> list[Round]:
    """Algorithm 1. len(nodes) has no prime factor above k + 1."""
    rounds, stride = [], 1
    for factor in _factors(len(nodes), k):
        pairs: Round = []
        for first in range(len(nodes)):
            if first // stride % factor == 0:
                group = [nodes[first + digit * stride] for digit in range(factor)]
                pairs += [(u, v, Fraction(1, factor)) for u, v in combinations(group, 2)]
        rounds.append(pairs)
        stride *= factor
    return rounds


def _simple(nodes: Sequence[int], k: int) -> list[Round]:
    """Algorithm 2."""
    if _smooth_part(len(nodes), k)[1] == 1:
        return _hyper_hypercube(nodes, k)
    digits = _digits(len(nodes), k + 1)
    blocks: list[list[list[int]]] = []  # of each digit a > 0 of place value s: a parts of s nodes
    start = 0
    for count, size in digits:
        blocks.append([list(nodes[start + i * size : start + (i + 1) * size]) for i in range(count)])
        start += count * size
    inside = _beside([_hyper_hypercube([u for part in block for u in part], k) for block in blocks])
    after: list[list[Round]] = []  # of each block but the last: what happens once all blocks are averages
    for j, block in enumerate(blocks[:-1]):
        later = [u for other in blocks[j + 1 :] for part in other for u in part]
        here = sum(len(part) for part in block)
        weight = Fraction(here, len(block) * (here + len(later)))
        taking = [(u, part[i], weight) for i, u in enumerate(later) for part in block]
        waiting: list[Round] = [[] for _ in range(j)]
        after.append([*waiting, taking, *_beside([_hyper_hypercube(part, k) for part in block])])
    return inside + _beside(after)


def _beside(parts: Sequence[list[Round]]) -> list[Round]:
    """What disjoint sets of nodes do at the same time; the shorter ones are done first."""
    return [[share for part in moment for share in part] for moment in zip_longest(*parts, fillvalue=[])]


def _digits(n: int, base: int) -> list[tuple[int, int]]:
    """(digit, its place value) of n in `base`, the highest first, zeros left out."""
    found, size = [], 1
    while n:
        n, digit = divmod(n, base)
        if digit:
            found.append((digit, size))
        size *= base
    return found[::-1]


def _smooth_part(n: int, k: int) -> tuple[int, int]:
    """n = smooth * rest: no prime factor of `smooth` is above k + 1, and all of `rest` are."""
    smooth, rest = 1, n
    for factor in range(2, min(k + 1, n) + 1):
        while rest % factor == 0:
            smooth, rest = smooth * factor, rest // factor
    return smooth, rest


def _factors(n: int, k: int) -> list[int]:
    """The fewest factors from 2 to k + 1 whose product is n, which has no prime factor above k + 1."""
    fewest: dict[int, list[int]] = {1: []}
    for m in sorted(m for m in range(2, n + 1) if n % m == 0):
        options = [[f, *fewest[m // f]] for f in range(2, min(k + 1, m) + 1) if m % f == 0 and m // f in fewest]
        if options:
            fewest[m] = min(options, key=len)
    return fewest[n]
