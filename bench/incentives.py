"""Who earns what: honest nodes beside free-riders, copycats, wire-cheats and liars, on digits, in the simulator.

earn       trials of 8 and 16 nodes with the code of real nodes; credits under the rule "score" as it is by default. Who
           works has more or fewer examples (WEIGHTS): on equal shares of one data set there is no order to find.
           Evaluators try updates on the common test set (898 examples): their own shares have a few. Windows are short,
           so that a trial has some: valuing takes more than its usual share of bytes here (see cost)
truth      every coalition of those who work is trained anew by FedAvg on the same shares (retrained.py), with as many
           steps a round as in the trial, for the rounds in which it learns most (RETRAINED), and judged by accuracy on
           the common test set: exact Shapley values of that game. Who puts nothing in is worth 0, and so is who does
           harm: there are no credits below 0. Other draws of batches change nothing in their order (docs/log.md);
           values drawn from some of the coalitions do
estimates  exact, permutations, GTG, leave one out, on one round of eight updates
liars      fifteen evaluators on small shards of their own, some lying, combined by mean, lower median, trimmed mean
pairs      one node is honest, or colludes with another, withholds, or grinds the draw when it leads: the same trial
           otherwise, so the same data. What it has over what the honest one has, with Student's interval of 95 %
cost       the same run with and without valuing: bytes by its own count, processor seconds by the clock
demo       `p2pfl demo --strategies honest*6,copycat,freerider` as a user types it, processes over HTTP: what each has,
           and what valuing took of the bytes and of the time. Not with --quick

    python bench/incentives.py [--quick] [--part earn --part ...] [--json FILE]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from time import process_time
from typing import Any

import torch
from harness import bar, parse_args, table, write_json
from retrained import Shape, Share, accuracies, kernel_shapley
from torch import Tensor

from p2pfl.assemble.network import assemble
from p2pfl.assemble.splits import load_held, shares_of, splits_of
from p2pfl.config import NetworkConfig, load_network
from p2pfl.core.noise import derive, root
from p2pfl.learn.data import Data, Splits
from p2pfl.learn.learner import Learner
from p2pfl.runs.incentives import Earned, build_trial, run_trial
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated
from p2pfl.strategies import STRATEGIES, make_strategy, parse_strategies
from p2pfl.valuation import Game, exact, gtg, leave_one_out, lower_median, permutations, spearman, trimmed_mean

DOCUMENT = """
format = 1
name = "incentives"
[model]
name = "mlp"
input_shape = [1, 8, 8]
num_classes = 10
args = { hidden = [32] }
[topology]
family = "exponential"
[pace]
rounds = 160
[train]
steps = 5
lr = 0.1
[data]
source = "digits"
test_fraction = 0.5
partition = { by = "iid" }
[ledger]
interval_s = 0.1
[valuation]
share = 10.0
split = "test"
"""
TRIALS = {
    8: "honest*4,noisylabels,freerider,copycat,zerowire",
    16: "honest*9,noisylabels*2,freerider,noise,copycat,stalecopycat,poisonwire",
}
WEIGHTS = {
    8: (2, 4, 6, 8, 4, 16, 16, 16),
    16: (2, 3, 4, 6, 9, 13, 20, 30, 45, 6, 13, 8, 8, 8, 8, 8),
}
"""Parts of the examples, by node; noisy labels have as many as one who works has."""
PARTS = ("earn", "estimates", "liars", "pairs", "cost", "demo")
Rows = list[dict[str, Any]]
RETRAINED = {8: 160, 16: 80}
"""Rounds, by nodes: of eleven players there are 2,048 coalitions."""


def document(*overrides: str) -> NetworkConfig:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.toml"
        path.write_text(DOCUMENT)
        return load_network(path, overrides)


def trial(names: str, seed: int, *overrides: str, rule: str = "score") -> list[Earned]:
    nodes = parse_strategies(names)
    config = document(f"seed={seed}", *overrides)
    return run_trial(build_trial(config, nodes, World(step_s=0.01), rule=rule), nodes)


def agreement(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 if one has a single value only."""
    return spearman(a, b) or 0.0


# ------------------------------------------------------------------------------------------------ the truth


class Retraining:
    """The nodes' own learners, each with its share as its strategy has it."""

    def __init__(self, config: NetworkConfig, names: Sequence[str]) -> None:
        config = simulated(config, len(names))
        self.shared, held = assemble(config, device="cpu"), load_held(config.data, config.seed)
        shares = shares_of(held, config.data, len(names), config.seed)
        self.learners, self.splits = list[Learner](), list[Splits]()
        for index, name in enumerate(names):
            strategy = make_strategy(name)
            place = strategy.share(index)
            splits = strategy.splits(splits_of(held, shares[place], config.data, config.seed, place))
            self.splits.append(splits)
            self.learners.append(self.shared.learner(splits, config.train))

    def share(self, index: int) -> Share:
        return _share(self.splits[index].train)

    def test(self) -> Share:
        return _share(self.splits[0].test)


def _share(data: Data) -> Share:
    return data.x.flatten(1).float(), data.y


def truth(config: NetworkConfig, names: Sequence[str]) -> list[float]:
    """The Shapley value of each node in the game of retraining; 0 for who puts no work into what others get."""
    game = Retraining(config, names)
    players = [index for index, name in enumerate(names) if STRATEGIES[name].works]
    shares, masks = [game.share(index) for index in players], range(1 << len(players))
    args = (Shape(64, 32), game.learners[0].start(), shares, game.test(), masks, (RETRAINED[len(names)],))
    (learned,) = accuracies(*args, steps=config.train.steps or 1, lr=config.train.lr)
    found = kernel_shapley(len(players), dict(zip(masks, learned, strict=True)))
    values = dict(zip(players, (max(value, 0.0) for value in found), strict=True))
    return [values.get(index, 0.0) for index in range(len(names))]


def earn(quick: bool) -> Rows:
    rows, seeds = Rows(), ((1,) if quick else (1, 2, 3))
    for size in (8,) if quick else (8, 16):
        names, shares = parse_strategies(TRIALS[size]), partition(size)
        margins, noisy, ranks = [], [], []
        for seed in seeds:
            found = trial(TRIALS[size], seed, shares)
            true = truth(document(f"seed={seed}", shares), names)
            credits = [row.credits for row in found]
            rows += earned_rows(size, seed, found, true)
            honest = [row.credits for row in found if row.strategy == "honest"]
            margins.append(min(honest) / max(*(row.credits for row in found if not row.works), 1))
            noisy.append(min(clean_over_noisy(size, credits, names)))
            ranks.append(agreement(credits, true))
        table([row for row in rows if row["nodes"] == size])
        print(f"{size} nodes, by seed: Spearman {told(ranks)}")
        print(f"  least honest over most of any cheat {told(margins)}, clean over noisy labels {told(noisy)}")
        bar(f"least honest credits over most of any cheat, {size} nodes, worst seed", min(margins), 1.0)
        bar(
            f"clean credits over those of noisy labels with as many examples, {size} nodes, worst seed", min(noisy), 1.0
        )
        bar(f"Spearman of credits and retraining, {size} nodes, mean of seeds", mean(ranks), 0.9)
    return rows


def partition(size: int) -> str:
    return f'data.partition={{ by = "quantity", weights = {list(WEIGHTS[size])} }}'


def earned_rows(size: int, seed: int, found: Sequence[Earned], true: Sequence[float]) -> Rows:
    return [
        {
            "nodes": size,
            "seed": seed,
            "strategy": row.strategy,
            "examples": WEIGHTS[size][index],
            "credits": row.credits,
            "scores": sum(micro for _, micro, _ in row.scores) / 1e6,
            "true": true[index],
            "accuracy": row.accuracy,
        }
        for index, row in enumerate(found)
    ]


def clean_over_noisy(size: int, credits: Sequence[int], names: Sequence[str]) -> list[float]:
    """For each node of noisy labels: what the honest node with as many examples has over what it has."""
    weights = WEIGHTS[size]
    clean = {weights[index]: credits[index] for index, name in enumerate(names) if name == "honest"}
    noisy = [index for index, name in enumerate(names) if name == "noisylabels"]
    return [clean[weights[index]] / max(credits[index], 1) for index in noisy]


def told(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)


# ------------------------------------------------------------------------------------------------ one round


class Round:
    """Eight updates of one FedAvg round, from a model that has begun to learn: 4 clean shares of different size, one
    of noisy labels, one that has the first one's data, one that does nothing, one that repeats an earlier round's."""

    NAMES = ("clean 0", "clean 1", "clean 2", "clean 3", "noisy", "dup of 0", "lazy", "stale of 1")

    def __init__(self, seed: int) -> None:
        names = ["honest"] * 4 + ["noisylabels", "duplicate", "honest", "honest"]
        game = Retraining(
            document(
                f"seed={seed}",
                'data.partition={ by = "dirichlet", alpha = 100.0 }',
                "train.lr=0.1",
                "data.test_fraction=0.5",
            ),
            names,
        )
        self.learners, self.shared = game.learners, game.shared
        x = game.learners[0].start()
        states = {i: game.learners[i].init(x) for i in range(6)}
        before: dict[int, Tensor] = {}
        for number in range(3):
            if number:
                x = x + torch.stack([before[i] for i in range(6)]).mean(0)
            stale, before = before, {}
            for i in range(6):
                trained = game.learners[i].train(x, states[i], None, 40, number, derive(root(seed), "round", i))
                states[i], before[i] = trained.state, trained.x - x
        self.x = x
        self.updates = [*(before[i] for i in range(6)), torch.zeros_like(x), stale[1]]
        held = load_held(game.shared.config.data, seed)
        self.pool = held.test

    def utility(self, rows: Tensor) -> Callable[[Tensor], float]:
        splits = Splits(self.pool, self.pool.subset(rows), self.pool)
        learner = self.shared.learner(splits, self.shared.config.train)
        return lambda x: learner.evaluate(x, "validation").sureness or 0.0


def estimates(quick: bool) -> Rows:
    rows = Rows()
    found: dict[str, list[tuple[float, float, int]]] = {}
    for seed in (1,) if quick else (1, 2, 3):
        round_ = Round(seed)
        game = Game(round_.x, round_.updates, round_.utility(torch.arange(len(round_.pool))))
        true = exact(8, game)
        size = sum(map(abs, true.values))
        for name, estimate in {
            "exact": true,
            "permutations": permutations(8, game, root(seed)),
            "gtg": gtg(8, game, root(seed)),
            "leave one out": leave_one_out(8, game),
        }.items():
            error = sum(abs(a - b) for a, b in zip(estimate.values, true.values, strict=True)) / size
            rank = agreement(estimate.values, true.values)
            found.setdefault(name, []).append((error, rank, estimate.evaluations))
    for name, values in found.items():
        error, rank, evaluations = (mean(column) for column in zip(*values, strict=True))
        rows.append({"estimator": name, "relative error": error, "Spearman": rank, "evaluations": evaluations})
    table(rows)
    bar("relative error of 24 permutations, 8 players", rows[1]["relative error"], 0.2, at_least=False)
    return rows


def liars(quick: bool) -> Rows:
    rows = Rows()
    for count in (0, 6) if quick else (0, 3, 5, 6, 7):
        ranks: dict[str, list[float]] = {"mean": [], "lower median": [], "trimmed mean": []}
        for seed in (1,) if quick else (1, 2, 3):
            round_ = Round(seed)
            said = opinions(round_, seed)
            honest = [lower_median(column) for column in zip(*said, strict=True)]
            span = 3 * (max(honest) - min(honest))
            for evaluator in range(count):
                said[evaluator][6] += span  # the lazy one up, a good one down
                said[evaluator][2] -= span
            columns = [list(column) for column in zip(*said, strict=True)]
            ranks["mean"].append(agreement([mean(column) for column in columns], honest))
            ranks["lower median"].append(agreement([lower_median(column) for column in columns], honest))
            ranks["trimmed mean"].append(agreement([trimmed_mean(column) for column in columns], honest))
        rows.append({"liars of 15": count, **{name: mean(values) for name, values in ranks.items()}})
    table(rows)
    six = next(row for row in rows if row["liars of 15"] == 6)
    bar("Spearman of the lower median with 6 of 15 liars to the honest one", six["lower median"], 0.9)
    return rows


def opinions(round_: Round, seed: int) -> list[list[int]]:
    """Scores, in millionths, of fifteen evaluators on 49 examples each; by evaluator."""
    found = []
    order = torch.randperm(len(round_.pool), generator=torch.Generator().manual_seed(seed))
    for evaluator in range(15):
        rows = order[torch.arange(49) + 49 * evaluator]
        game = Game(round_.x, round_.updates, round_.utility(rows))
        values = permutations(8, game, derive(root(seed), evaluator)).values
        found.append([round(1e6 * value) for value in values])
    return found


# ------------------------------------------------------------------------------------------------ pairs, and cost


PLACE = 5
"""Whose strategy changes; its friend, of a pair, is the next one."""
TRIED = {"colluder": 2, "withholder": 1, "grindingleader": 1}
"""Strategies, and of how many nodes."""


def pairs(quick: bool) -> Rows:
    rows = Rows()
    gains: dict[str, list[float]] = {who: [] for who in TRIED}
    overrides = ("pace.rounds=80",) if quick else ("pace.rounds=160",)
    for seed in (1,) if quick else (1, 2, 3):
        honest = trial("honest*8", seed, *overrides)
        for who, count in TRIED.items():
            names = ",".join(("honest",) * PLACE + (who,) * count + ("honest",) * (8 - PLACE - count))
            found = trial(names, seed, *overrides)
            of, beside = ([row.credits for row in trial_[PLACE : PLACE + count]] for trial_ in (found, honest))
            gains[who].append(sum(of) / max(sum(beside), 1))
    for who, values in gains.items():
        half = 4.30 * stdev(values) / len(values) ** 0.5 if len(values) == 3 else 0.0  # 95 %, 2 degrees of freedom
        rows.append({"strategy": who, "credits over honest": mean(values), "95 % +-": half})
        name = f"credits of a {who} over those of an honest node with its data, less the interval"
        bar(name, mean(values) - half, 1.0, at_least=False)
    table(rows)
    return rows


def cost(quick: bool) -> Rows:
    """The default share of bytes, and processor time beside the same run without valuing."""
    nodes, overrides = ("honest",) * 8, ("valuation.share=0.1", f"pace.rounds={300 if quick else 800}")
    seconds: dict[bool, float] = {}
    shares, models = [0.0], [0]
    for on in (True, False):
        simulation = build_trial(document(*overrides), nodes, World(step_s=0.01))
        if not on:
            config = replace(simulation.shared.config, valuation=document().valuation)
            genesis = simulation.shared.given_genesis
            simulation = build_simulation(config, World(step_s=0.01), genesis=genesis)
        begun = process_time()
        run_simulation(simulation)
        seconds[on] = process_time() - begun
        if on:
            told = [outcome.valuation for outcome in simulation.outcomes.values()]
            shares = [float(values["valuation_share"] or 0) for values in told]
            models = [int(values["valuation_models"] or 0) for values in told]
    ratio = seconds[True] / seconds[False] - 1
    row = {"bytes of valuing over learning": mean(shares), "most": max(shares), "models tried": mean(models)}
    rows = [row | {"time over the run without": ratio}]
    table(rows)
    bar("bytes that valuing takes, of those of learning (mean of nodes)", mean(shares), 0.1, at_least=False)
    bar("processor time that valuing adds to the run", ratio, 0.25, at_least=False)
    return rows


def demo(quick: bool) -> Rows:
    """The trial that README shows, with the defaults that it has."""
    if quick:
        return []
    command = (sys.executable, "-m", "p2pfl", "demo", "--strategies", "honest*6,copycat,freerider", "--json", "--quiet")
    said = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=900).stdout)
    rows = [{name: row[name] for name in ("name", "strategy", "credits")} for row in said["earned"]]
    table(rows)
    took, honest = said["valuing"], [row["credits"] for row in rows if row["strategy"] == "honest"]
    others = [row["credits"] for row in rows if row["strategy"] != "honest"]
    bar("demo: least honest credits over most of a cheat", min(honest) / max(*others, 1), 1.0)
    bar("demo: bytes that valuing takes, of those of learning", took["bytes"], 0.1, at_least=False)
    bar("demo: seconds that valuing takes, of the run's", took["seconds"], 0.25, at_least=False)
    return rows


RUNS: Mapping[str, Callable[[bool], Rows]] = {
    "earn": earn,
    "estimates": estimates,
    "liars": liars,
    "pairs": pairs,
    "cost": cost,
    "demo": demo,
}


def main() -> None:
    torch.set_num_threads(1)

    def extra(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--part", action="append", choices=PARTS, help="only this part (repeatable)")

    args = parse_args(__doc__, extra)
    rows = Rows()
    for part in args.part or PARTS:
        print(f"\n{part}", flush=True)
        rows += [{"part": part, **row} for row in RUNS[part](args.quick)]
    write_json(args, rows)


if __name__ == "__main__":
    main()
