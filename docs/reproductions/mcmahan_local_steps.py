"""Local steps between averages: McMahan, Moore, Ramage, Hampson, Aguera y Arcas 2017, table 2 (FedAvg).

More local work per round means fewer rounds to a target accuracy: much fewer with even shares, a few times fewer or
none with shares of two labels. B is the local batch, E the epochs, u = E n_k / B the local steps of a round.

    python docs/reproductions/mcmahan_local_steps.py [--quick]
"""

from dataclasses import dataclass
from typing import Any

from tables import learn, mean, parse_args, rounds_until, show

NODES = 20
SPLITS: dict[str, dict[str, Any]] = {"even": {"by": "iid"}, "two labels": {"by": "shards", "shards_per_node": 2}}
WHOLE = 72
"""Samples of a node: the batch of a step that the paper calls B = infinity."""
TARGET = 0.93
RATES = (0.25, 1.0)


@dataclass(frozen=True)
class Setting:
    """One row. rounds: tried at most, by split; paper: those of the CNN on MNIST (from memory, unverified)."""

    name: str
    batch: int
    steps: int
    rounds: tuple[int, int]
    paper: tuple[int, int]


SETTINGS = (
    Setting("FedSGD: B = all, E = 1", WHOLE, 1, (200, 600), (626, 483)),
    Setting("B = all, E = 5", WHOLE, 5, (60, 250), (179, 1000)),
    Setting("B = all, E = 20", WHOLE, 20, (40, 150), (234, 672)),
    Setting("B = 10, E = 1", 10, 7, (40, 200), (34, 350)),
    Setting("B = 10, E = 5", 10, 36, (20, 100), (20, 229)),
)


def main() -> None:
    args = parse_args(__doc__ or "")
    settings = SETTINGS[:2] if args.quick else SETTINGS
    rounds: dict[str, list[float | None]] = {}
    for number, (split, partition) in enumerate(SPLITS.items()):
        rounds[split] = [
            fewest(setting, partition, args.seeds, 20 if args.quick else setting.rounds[number]) for setting in settings
        ]
        print(f"{split}: rounds to {TARGET:.0%} on digits, {NODES} nodes; in the paper to 99% on MNIST, 100 clients\n")
        show([row(setting, rounds[split], i, number, settings[0]) for i, setting in enumerate(settings)])


def fewest(setting: Setting, partition: dict[str, Any], seeds: int, rounds: int) -> float | None:
    """With the best learning rate, as the paper has it; here the one that is best with the first seed."""
    tried = {lr: rounds_of(setting, partition, lr, 1, rounds) for lr in RATES}
    reached = {lr: found for lr, found in tried.items() if found is not None}
    if not reached:
        return None
    best = min(reached, key=lambda lr: reached[lr])
    others = [rounds_of(setting, partition, best, seed, rounds) for seed in range(2, seeds + 1)]
    return mean([reached[best], *others])


def rounds_of(setting: Setting, partition: dict[str, Any], lr: float, seed: int, rounds: int) -> int | None:
    records = learn(
        NODES,
        seed,
        mix={"rule": "fedavg"},
        topology={"family": "complete"},
        pace={"rounds": rounds, "evaluate": 4 if setting.steps == 1 else 1},
        train={"lr": lr, "batch_size": setting.batch, "steps": setting.steps},
        data={"partition": partition},
    )
    return rounds_until(records, TARGET)


def row(setting: Setting, rounds: list[float | None], index: int, split: int, first: Setting) -> dict[str, object]:
    mine, base = rounds[index], rounds[0]
    return {
        "setting": setting.name,
        "u": setting.steps,
        "rounds": mine,
        "speed-up": None if mine is None or base is None else base / mine,
        "paper: rounds": setting.paper[split],
        "paper: speed-up": first.paper[split] / setting.paper[split],
    }


if __name__ == "__main__":
    main()
