"""Overlays for four real networks: the published ones in their order, and the designer's against the best of them.

Gaia, AWS North America, GEANT and Ebone as in Marfoq et al. 2020: iNaturalist with ResNet-18 (42.88 Mbit a message,
25.4 ms of work a round), core links of 1 Gbit/s, access links of 10 Gbit/s. `--quick` searches less.

    round     milliseconds of a round in the long run (cycle time)
    target    milliseconds until disagreement is 1/1000 of the first

The best published overlay has the shortest round of star, rings, trees, MATCHA and MATCHA+ for the first bar, and the
shortest time to the target for the second: two different overlays, each at what it is best at.
"""

from pathlib import Path

from harness import add_data, bar, parse_args, table, write_json

from p2pfl.topology.overlays.cycle import Workload
from p2pfl.topology.overlays.design import Plan, Wish, design
from p2pfl.topology.overlays.overlay import soonest
from p2pfl.topology.overlays.underlay import load_underlay

NETWORKS = {"Gaia": "gaia", "AWS NA": "amazon_us", "GEANT": "geantdistance", "Ebone": "ebone"}
PAPER = {"Gaia": 2.65, "AWS NA": 3.41, "GEANT": 4.85, "Ebone": 8.83}
"""Training time with the star over that with the ring, from the data's README: other than cycle times, it also counts
how many rounds each needs."""
WORK = Workload(42.88e6 / 8, 25.4)
DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def main() -> None:
    args = parse_args(__doc__, add_data)
    folder = (args.data or DATA) / "underlays"
    wish = Wish(effort=150 if args.quick else 1000)
    plans = {
        name: design(load_underlay(folder / f"{stem}.gml", core_mbps=1000.0), WORK, wish)
        for name, stem in NETWORKS.items()
    }
    rows = [row(name, plan) for name, plan in plans.items()]
    table(rows)
    print()
    for name, plan in plans.items():
        print(f"{name}: the designer takes {plan.best.name}")
    ratios = [float(r["star / ring"]) for r in rows]
    for name, ratio in zip(plans, ratios, strict=True):
        bar(f"star over ring, {name} (of the paper's {PAPER[name]}x)", ratio / PAPER[name], 0.5)
    bar("ranks as in the paper", float(ratios == sorted(ratios) and ratios[0] > 1), 1.0)
    for name, plan in plans.items():
        bar(f"round of the designer's over the best published, {name}", plan.best.round_ms / shortest(plan), 1.0, False)
    sooner = [soonest(plan.published).target_ms / plan.best.target_ms for plan in plans.values()]
    for name, gain in zip(plans, sooner, strict=True):
        bar(f"time to the target, best published over the designer's, {name}", gain, 1.0)
    bar("networks where the designer's is strictly sooner", float(sum(gain > 1 for gain in sooner)), 2.0)
    write_json(args, rows)


def row(name: str, plan: Plan) -> dict[str, str | float]:
    """One network's figures."""
    found = {one.name: one for one in plan.published}
    matcha = min(one.round_ms for one in plan.published if one.name.startswith("MATCHA"))
    return {
        "network": name,
        "star": found["star (server)"].round_ms,
        "ring": found["ring, one way"].round_ms,
        "MST": found["MST"].round_ms,
        "MATCHA": matcha,
        "star / ring": found["star (server)"].round_ms / found["ring, one way"].round_ms,
        "paper": PAPER[name],
        "best round": shortest(plan),
        "ours": plan.best.round_ms,
        "best target": soonest(plan.published).target_ms,
        "ours to target": plan.best.target_ms,
    }


def shortest(plan: Plan) -> float:
    return plan.best_published.round_ms


if __name__ == "__main__":
    main()
