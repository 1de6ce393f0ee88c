"""Who buys? A media company knows where visitors came from, a shop what they did there and whether they bought.

Two processes align their visitors and train one net cut between them, over HTTP on loopback; what the media company
hears of purchases is clipped and noised (label differential privacy). Beside it: each side's columns with the labels,
and one net over all columns in one place.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import Bar, Outcome, Table, finish, parse_args  # noqa: E402
from common_vertical import Company, Joined, figures_of, mean_of, read_csv, run_jobs  # noqa: E402

FILE = "online-shoppers/online_shoppers_intention.csv.gz"
MEDIA = ["SpecialDay", "Month", "OperatingSystems", "Browser", "Region", "TrafficType", "VisitorType", "Weekend"]
CODES = ["Month", "OperatingSystems", "Browser", "Region", "TrafficType", "VisitorType", "Weekend"]
SHOP = ["Administrative", "Administrative_Duration", "Informational", "Informational_Duration", "ProductRelated"]
SHOP += ["ProductRelated_Duration", "BounceRates", "ExitRates", "PageValues"]
SEEDS = (1, 2, 3)
JOINED = "joined over HTTP, labels protected"
WAYS = {
    "media side alone, if it had the labels": "alone.media",
    "shop side alone": "alone.shop",
    JOINED: "joined",
    "the same net over all columns in one place": "central",
}
MEDIA_ALONE = 0.676
"""AUC of gradient boosting on the media side's columns of the real set, which the joined model must clearly beat."""


def real(folder: Path, quick: bool) -> list[Company]:
    """12,330 sessions at a shop (UCI, 2018)."""
    rows = read_csv(folder / FILE)
    if quick:
        rows = {name: values[::4] for name, values in rows.items()}
    media = {name: common(rows[name]) if name in CODES else rows[name] for name in MEDIA}
    bought = ["yes" if v.lower() in ("1", "true") else "no" for v in rows["Revenue"]]
    return [Company("shop", {name: rows[name] for name in SHOP}, bought), Company("media", media)]


def common(codes: list[str], least: float = 0.02) -> list[str]:
    """Codes as categories, the rare ones as one: every column that learns from noised gradients costs."""
    counts = Counter(codes)
    return [f"c{code}" if counts[code] >= least * len(codes) else "rare" for code in codes]


def synthetic(people: int, seed: int = 3) -> list[Company]:
    """Made-up visitors: interest, which the media side sees dimly by channel and hour, drives pages and baskets."""
    rng = np.random.default_rng(seed)
    channel, device = rng.integers(0, 8, people), rng.integers(0, 3, people)
    hour, returning = rng.integers(0, 24, people), rng.random(people) < 0.35
    pull = np.array([-0.9, -0.5, -0.3, 0.0, 0.1, 0.4, 0.7, 1.1])[channel]
    interest = 0.8 * pull + 0.5 * returning + 0.3 * np.cos((hour - 20) / 24 * 2 * np.pi) + rng.normal(0, 0.9, people)
    pages = rng.poisson(np.exp(1.6 + 0.35 * interest))
    seconds = pages * rng.gamma(2.0, 14.0, people) * (1 + 0.5 * (device == 0))
    basket = np.maximum(0.0, interest + rng.normal(0, 1.1, people)) * 20
    odds = -3.1 + 0.045 * basket + 0.5 * interest + 0.6 * pull * (basket > 15) + 0.4 * returning
    bought = np.where(rng.random(people) < 1 / (1 + np.exp(-odds)), "yes", "no")
    shop = {"pages": pages, "seconds": np.round(seconds, 1), "basket": np.round(basket, 2)}
    media = {
        "channel": [f"c{v}" for v in channel],
        "device": [f"d{v}" for v in device],
        "hour": hour,
        "returning": np.where(returning, "yes", "no"),
    }
    return [Company("shop", shop, bought), Company("media", media)]


def table(found: list[Joined], data: str) -> Table:
    rows = [{"who": words, "AUC": round(mean_of(found, name), 4)} for words, name in WAYS.items()]
    what = {"real": "Online shoppers (UCI)", "synthetic": "Made-up visitors"}[data]
    seeds = f"Means of {len(found)} seeds" if len(found) > 1 else "One seed"
    note = f"{seeds}; {found[0].rows:,} visitors in common; label epsilon {found[0].label_epsilon or 0:.2f} at delta "
    leak = f" Attacks on what was sent read purchases at AUC {mean_of(found, 'leak'):.3f} (0.5: nothing)."
    return Table(f"{what}: who buys?", rows, f"{note}{found[0].delta:g}.{leak}")


def bars(found: list[Joined], data: str) -> list[Bar]:
    floor = MEDIA_ALONE if data == "real" else mean_of(found, "alone.media")
    joined, central = mean_of(found, "joined"), mean_of(found, "central")
    return [
        Bar(f"{data}, joined AUC minus the media side's {floor:.3f}", joined - floor, 0.1),
        Bar(f"{data}, joined AUC minus the shop's alone", joined - mean_of(found, "alone.shop"), 0.005),
        Bar(f"{data}, one net in one place minus joined, AUC", central - joined, 0.005, at_least=False),
    ]


def main() -> None:
    args = parse_args(__doc__, data=FILE)
    data = "real" if args.data else "synthetic"
    companies = real(args.data, args.quick) if args.data else synthetic(1200 if args.quick else 4000)
    found = run_jobs(
        HERE / "job.toml",
        companies,
        (1,) if args.quick else SEEDS,
        {"epochs": 4, "batch_size": 64} if args.quick else {},
    )
    outcome = Outcome(data, [table(found, data)], bars(found, data))
    if args.record:
        from common_pictures import ranking

        points = {words: figures_of(found, name) for words, name in WAYS.items()}
        outcome.pictures = {f"{data}.svg": ranking(outcome.tables[0].title, "AUC", points, [JOINED])}
    finish(args, HERE, outcome)


if __name__ == "__main__":
    main()
