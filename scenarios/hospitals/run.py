"""Benign or malignant? Hospitals with unlike patients share a model, without showing patients or models to anybody.

The network of network.toml beside this file runs in virtual time with every message signed and every model masked, with
and without differential privacy; beside it each hospital alone with the same promise to its patients, and one model
over all patients, with the promise and without. Means over seeds.
"""

import sys
from pathlib import Path
from statistics import fmean
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import Bar, Outcome, Row, Table, finish, parse_args  # noqa: E402

import p2pfl  # noqa: E402

HOSPITALS = 8
SEEDS = (1, 2, 3, 4, 5)
ALONE, NETWORK, CENTRAL = "accuracy_alone_mean", "accuracy_mean", "accuracy_centralised"
NETWORK_PRIVATE, NETWORK_OPEN = "the network, private, secure cells", "the network, secure cells"
WAYS = {
    "a hospital alone, private (mean of all)": (True, ALONE, "nothing"),
    NETWORK_PRIVATE: (True, NETWORK, "noised means of cells"),
    "one model over all patients, private": (True, CENTRAL, "all patients"),
    "a hospital alone (mean of all)": (False, ALONE, "nothing"),
    NETWORK_OPEN: (False, NETWORK, "means of cells"),
    "one model over all patients": (False, CENTRAL, "all patients"),
}
"""Private or not, the summary's figure, and what others see of a hospital."""

Summaries = list[dict[str, Any]]


def summary_of(document: str, seed: int, quick: bool) -> dict[str, Any]:
    """Accuracies on the patients held out, and what was spent."""
    changes = {"pace.rounds": 12} if quick else {}
    result = p2pfl.simulate(HERE / document, nodes=HOSPITALS, baselines=True, seed=seed, **changes)
    if result.summary["failures"]:
        raise SystemExit(str(result.summary["failures"]))
    return result.summary


def figures(found: dict[bool, Summaries]) -> dict[str, list[float]]:
    """The accuracy of each way in every seed."""
    return {name: [run[key] for run in found[private]] for name, (private, key, _) in WAYS.items()}


def table(found: dict[bool, Summaries]) -> Table:
    epsilon = f"{found[True][0]['privacy']['epsilon']:.2f}"
    rows: list[Row] = [
        {
            "who": name,
            "accuracy": round(fmean(values), 4),
            "worst seed": round(min(values), 4),
            "epsilon of a patient": epsilon if WAYS[name][0] else None,
            "others see": WAYS[name][2],
        }
        for name, values in figures(found).items()
    ]
    sent = fmean(run["bytes_sent_per_node"] for run in found[True])
    seeds = f"Means of {len(found[True])} seeds" if len(found[True]) > 1 else "One seed"
    note = f"{seeds}; a hospital sent {sent / 1e6:.2f} MB in all."
    return Table(f"Breast cancer, {HOSPITALS} hospitals: accuracy on patients held out", rows, note)


def bars(found: dict[bool, Summaries]) -> list[Bar]:
    mean = {name: fmean(values) for name, values in figures(found).items()}
    private, open_, alone, pooled = (mean[name] for name in (NETWORK_PRIVATE, NETWORK_OPEN, *list(WAYS)[::5]))
    return [
        Bar("private network minus a private hospital alone, accuracy", private - alone, 0.02),
        Bar("open network minus private network, accuracy", open_ - private, 0.03, at_least=False),
        Bar("one model over all patients minus open network, accuracy", pooled - open_, 0.01, at_least=False),
    ]


def main() -> None:
    args = parse_args(__doc__)
    seeds = SEEDS[:1] if args.quick else SEEDS
    documents = {True: "network.toml", False: "open.toml"}
    found = {private: [summary_of(name, seed, args.quick) for seed in seeds] for private, name in documents.items()}
    outcome = Outcome("embedded", [table(found)], bars(found))
    if args.record:
        from common_pictures import ranking

        picture = ranking(outcome.tables[0].title, "accuracy", figures(found), [NETWORK_PRIVATE, NETWORK_OPEN])
        outcome.pictures = {"accuracy.svg": picture}
    finish(args, HERE, outcome)


if __name__ == "__main__":
    main()
