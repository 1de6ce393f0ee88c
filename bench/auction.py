"""The auction of tasks: does a lie pay, is a budget ever exceeded, how much of it is used, and how long it takes.

Markets are drawn at random: 1 to 12 bidders with private costs, units and budgets from far too small to far too
large. Each bidder tries other asks than its cost, among them those just beside where it would be picked or not.
"""

import random
from statistics import median
from time import perf_counter

from harness import bar, parse_args, table, write_json

from p2pfl.core.ids import NodeId
from p2pfl.ledger.feeds.bounds import BIDS_MAX
from p2pfl.ledger.outcome.rules.procurement import Bid, Bids, auction

LIES = 12


def market(rng: random.Random) -> tuple[int, dict[NodeId, Bid]]:
    """A budget, and who would do how much at which cost."""
    top = rng.choice((5, 50, 10_000))
    count = rng.randint(1, 12)
    bids = {NodeId(bytes([k]) * 32): Bid(rng.randint(1, 40), rng.randint(1, top)) for k in range(count)}
    return max(1, sum(bid.ask for bid in bids.values()) * rng.randint(5, 300) // 100), bids


def gain(budget: int, bids: Bids, who: NodeId, cost: int) -> int:
    award = auction(budget, budget, bids).get(who)
    return 0 if award is None else award.credits - cost


def lies(rng: random.Random, cost: int, budget: int, paid: int) -> list[int]:
    """Twelve asks that are not the cost."""
    found = {cost - 1, cost + 1, cost // 2, 2 * cost, 1, budget, paid - 1, paid, paid + 1} - {cost}
    while len(found) < LIES:
        found |= {rng.randint(1, 4 * cost + 9)} - {cost}
    return sorted(lie for lie in found if lie > 0)


def try_market(rng: random.Random) -> dict[str, int]:
    """One market: lies tried, the most that one gained over the truth, the least gain of the honest, paid, budget."""
    budget, bids = market(rng)
    awards = auction(budget, budget, bids)
    tried, best, least = 0, 0, 0
    for who, bid in bids.items():
        honest = gain(budget, bids, who, bid.ask)
        least = min(least, honest)
        for lie in lies(rng, bid.ask, budget, awards[who].credits if who in awards else bid.ask):
            tried += 1
            best = max(best, gain(budget, {**bids, who: Bid(bid.units, lie)}, who, bid.ask) - honest)
    return {
        "lies": tried,
        "best": best,
        "least": least,
        "paid": sum(award.credits for award in awards.values()),
        "budget": budget,
    }


def largest() -> float:
    """Seconds for as many bids as a task takes."""
    rng = random.Random(5)
    bids = {NodeId(k.to_bytes(32, "big")): Bid(rng.randint(1, 10**6), rng.randint(1, 10**12)) for k in range(BIDS_MAX)}
    times = []
    for _ in range(5):
        begun = perf_counter()
        auction(10**14, 10**14, bids)
        times.append(perf_counter() - begun)
    return median(times)


def main() -> None:
    args = parse_args(__doc__)
    rng = random.Random(7)
    tried = [try_market(rng) for _ in range(400 if args.quick else 4000)]
    used = [each["paid"] / each["budget"] for each in tried if each["paid"]]
    rows = [
        {"what": "markets", "figure": len(tried)},
        {"what": "lies", "figure": sum(each["lies"] for each in tried)},
        {"what": "most that a lie gained, credits", "figure": max(each["best"] for each in tried)},
        {"what": "least that an honest bidder had, credits", "figure": min(each["least"] for each in tried)},
        {"what": "most of a budget paid", "figure": max(each["paid"] / each["budget"] for each in tried)},
        {"what": "median of budgets used, where anybody was picked", "figure": median(used)},
        {"what": f"milliseconds for {BIDS_MAX} bids", "figure": 1000 * largest()},
    ]
    table(rows)
    bar("most that a lie gains, credits", max(each["best"] for each in tried), wanted=0, at_least=False)
    bar("most of a budget that is paid", max(each["paid"] / each["budget"] for each in tried), wanted=1, at_least=False)
    bar("honest bidders, least gain, credits", min(each["least"] for each in tried), wanted=0)
    write_json(args, rows)


if __name__ == "__main__":
    main()
