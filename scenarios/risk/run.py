"""Who will not pay back? A lender knows limits and ages and who defaulted, two banks know payments and bills.

Three processes align their clients and train one net cut between them, over HTTP on loopback; what the banks hear of
defaults is clipped and noised (label differential privacy). Beside it: the same job without that protection, each
party's columns with the labels, and the same net over all columns in one place.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import Bar, Outcome, Table, finish, parse_args  # noqa: E402
from common_vertical import Company, Joined, figures_of, mean_of, read_csv, run_jobs  # noqa: E402

FILE = "credit-default/uci_credit_card.csv.gz"
SEEDS = (1, 2)
LABEL = "default.payment.next.month"
OPEN = {"gradient_noise": 0.0, "gradient_clip": 1000.0}
ALONE = {
    "the lender alone": "alone.lender",
    "the payments bank alone, if it had the labels": "alone.payments",
    "the bills bank alone, if it had the labels": "alone.bills",
}
JOINED, BARE, CENTRAL = (
    "joined over HTTP, labels protected",
    "joined over HTTP, gradients as they are",
    "the same net over all columns in one place",
)


def real(folder: Path, quick: bool) -> list[Company]:
    """30,000 card holders in Taiwan (UCI, 2005)."""
    rows = read_csv(folder / FILE)
    rows = {name: values[::10] if quick else values for name, values in rows.items() if name != "ID"}
    defaulted = ["yes" if int(v) else "no" for v in rows.pop(LABEL)]
    payments = {name: v for name, v in rows.items() if name.startswith("PAY_") and not name.startswith("PAY_AMT")}
    bills = {name: v for name, v in rows.items() if name.startswith(("BILL", "PAY_AMT"))}
    lender = {name: v for name, v in rows.items() if name not in payments and name not in bills}
    return [Company("lender", lender, defaulted), Company("payments", payments), Company("bills", bills)]


def synthetic(people: int, seed: int = 5) -> list[Company]:
    """Made-up clients: strain that nobody sees makes them pay late and owe much; the lender sees little of it."""
    rng = np.random.default_rng(seed)
    age, income = rng.integers(21, 70, people), rng.lognormal(10.2, 0.5, people)
    strain = rng.normal(0, 1, people) - 0.3 * (np.log(income) - 10.2) + 0.2 * (age < 30)
    limit = np.round(income * rng.uniform(0.2, 0.6, people) * np.exp(-0.15 * strain), -2)
    late = {f"late_{m}": np.maximum(0, np.round(0.9 * strain + rng.normal(0, 0.9, people))) for m in range(1, 5)}
    used = 1 / (1 + np.exp(-(0.8 * strain + rng.normal(0, 1, people))))
    bills = {f"bill_{m}": np.round(limit * used * rng.uniform(0.7, 1.1, people)) for m in range(1, 4)}
    paid = {f"paid_{m}": np.round(bills[f"bill_{m}"] * rng.beta(2, 3, people) * np.exp(-0.3 * strain)) for m in (1, 2)}
    odds = -1.7 + 0.9 * strain + 0.5 * late["late_1"] * (used > 0.6)
    defaulted = np.where(rng.random(people) < 1 / (1 + np.exp(-odds)), "yes", "no")
    lender = {"age": age, "income": np.round(income), "limit": limit}
    return [Company("lender", lender, list(defaulted)), Company("payments", late), Company("bills", {**bills, **paid})]


def ways(found: list[Joined], bare: list[Joined]) -> dict[str, list[float]]:
    """The AUC of each way in every seed."""
    own = {words: figures_of(found, name) for words, name in ALONE.items()}
    central = figures_of(found, "central")
    return own | {JOINED: figures_of(found, "joined"), BARE: figures_of(bare, "joined"), CENTRAL: central}


def table(found: list[Joined], bare: list[Joined], data: str) -> Table:
    leaks = {JOINED: mean_of(found, "leak"), BARE: mean_of(bare, "leak")}
    rows = [
        {"who": words, "AUC": round(float(np.mean(auc)), 4), "an attack reads defaults at AUC": rounded(leaks, words)}
        for words, auc in ways(found, bare).items()
    ]
    what = {"real": "Default of credit card clients (UCI)", "synthetic": "Made-up clients"}[data]
    seeds = f"Means of {len(found)} seeds" if len(found) > 1 else "One seed"
    note = f"{seeds}; {found[0].rows:,} clients in common; label epsilon {found[0].label_epsilon or 0:.2f} at delta "
    return Table(f"{what}: who will not pay back?", rows, f"{note}{found[0].delta:g}. An attack at 0.5 reads nothing.")


def rounded(values: dict[str, float], name: str) -> float | None:
    return round(values[name], 3) if name in values else None


def bars(found: list[Joined], bare: list[Joined], data: str) -> list[Bar]:
    alone, joined = mean_of(found, "alone.lender"), mean_of(found, "joined")
    lost = mean_of(found, "central") - mean_of(bare, "joined")
    return [
        Bar(f"{data}, joined AUC minus the lender's alone", joined - alone, 0.03),
        Bar(f"{data}, one net in one place minus joined without noise, AUC", lost, 0.005, at_least=False),
        Bar(f"{data}, attacks on protected gradients, AUC", mean_of(found, "leak"), 0.55, at_least=False),
    ]


def main() -> None:
    args = parse_args(__doc__, data=FILE)
    data = "real" if args.data else "synthetic"
    companies = real(args.data, args.quick) if args.data else synthetic(1200 if args.quick else 5000)
    seeds, small = ((1,), {"epochs": 3, "batch_size": 64}) if args.quick else (SEEDS, {})
    found = run_jobs(HERE / "job.toml", companies, seeds, small)
    bare = run_jobs(HERE / "job.toml", companies, seeds, small | OPEN)
    outcome = Outcome(data, [table(found, bare, data)], bars(found, bare, data))
    if args.record:
        from common_pictures import ranking

        picture = ranking(outcome.tables[0].title, "AUC", ways(found, bare), [JOINED, BARE])
        outcome.pictures = {f"{data}.svg": picture}
    finish(args, HERE, outcome)


if __name__ == "__main__":
    main()
