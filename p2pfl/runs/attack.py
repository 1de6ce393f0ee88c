"""The leak meter: attacks on one's own run, with its configuration and its data at hand. Knows run folders.

Members are the examples that the attacked node trained on, others those of the common test set. Gradients are of the
model's public start, once plain and once as the run's [privacy] shows them, so one report has both.
"""

import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from p2pfl.assemble.network import Shared, assemble
from p2pfl.assemble.splits import load_held, shares_of, splits_of
from p2pfl.config import load_network
from p2pfl.core.noise import derive, root
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Data, Splits
from p2pfl.learn.private import Privately
from p2pfl.runs.attack_gradients import Inversion, invert, label_hits
from p2pfl.runs.attack_members import balanced, by_loss, by_shadows, judge_guesses
from p2pfl.runs.folder import CONFIG, MODEL, NETWORK, RunFolder

EXAMPLES_MAX = 500
PICTURES = 8


@dataclass(frozen=True, eq=False)
class Target:
    """A finished run of one node: its model, the examples it trained on, and others like them."""

    shared: Shared
    name: str
    x: Tensor
    members: Data
    others: Data


def load_target(run: Path, node: str | None) -> Target:
    """RUN of a node, or of a simulated network (then `node`, or its first). Raises ConfigError."""
    folder = RunFolder(run)
    if not (folder / NETWORK).exists():
        raise ConfigError(f"{run}: expected a run folder with {NETWORK}, found none; make one with --out DIR")
    shared = assemble(load_network(folder / NETWORK), device="cpu")
    config = shared.config
    if shared.part is not None:
        raise ConfigError(f"{run}: expected a run whose whole model travels; with model.share only a part does")
    names = [entry.name for entry in config.nodes]
    if (folder / CONFIG).exists():
        own = tomllib.loads((folder / CONFIG).read_text("utf-8"))
        name, index = str(own["name"]), own.get("data", {}).get("index")
        if index is None:
            raise ConfigError(f"{run}: expected a node whose data are a share of the network's (data.index)")
    else:
        name = node if node is not None else names[0]
        if name not in names:
            raise ConfigError(f"--node: expected one of {', '.join(names[:20])}, got {name}")
        folder, index = RunFolder(run / name), names.index(name)
    if not (folder / MODEL).exists():
        raise ConfigError(f"{folder.path}: expected a finished run with {MODEL}, found none")
    folder.load_model(shared.model)
    x = shared.model.read()
    held = load_held(config.data, config.seed)
    rows = shares_of(held, config.data, len(names), config.seed)[int(index)]
    splits = splits_of(held, rows, config.data, config.seed, int(index))
    if not splits.train.num_classes:
        raise ConfigError(f"{run}: expected a run that learned classes; these attacks read probabilities")
    if not len(splits.test):
        raise ConfigError(f"{run}: expected a common test set to compare with; set data.test_fraction")
    members, others = balanced(splits.train, splits.test, EXAMPLES_MAX)
    if not len(members):
        raise ConfigError(f"{run}: expected a class that {name} trained on and the test set has too, found none")
    return Target(shared, name, x, members, others)


def attack(
    target: Target, shadows: int, on_step: Callable[[int, int], None] = lambda done, of: None
) -> tuple[dict[str, Any], dict[str, Inversion]]:
    """The report, and the inversions by what was seen: "plain", and "private" if the run was."""
    shared, model = target.shared, target.shared.model
    both = _joined(target.members, target.others)
    count = len(target.members)
    found: dict[str, Any] = {"node": target.name, "examples": count, "members": {}, "labels": {}, "pictures": {}}
    guesses = {"by loss": by_loss(model, target.x, both)}
    if shadows:
        guesses["by shadow models"] = by_shadows(model, target.x, both, _trainer(target), shadows, on_step)
    for name, scores in guesses.items():
        found["members"][name] = asdict(judge_guesses(scores[:count], scores[count:]))
    seen: dict[str, Privately | None] = {"plain": None}
    promise, privacy = shared.promise, shared.config.privacy
    if promise is not None and promise.unit == "example":
        seen["private"] = Privately(privacy.clip, promise.noise, promise.rate, privacy.group)
    pictures = target.members.subset(torch.arange(min(PICTURES, count)))
    inversions = {name: invert(model, pictures, privately) for name, privately in seen.items()}
    for name, privately in seen.items():
        found["labels"][name] = label_hits(model, target.members, privately)
        found["pictures"][name] = inversions[name].likeness
    found["labels"]["chance"] = float(target.members.y.bincount().max()) / count
    return found, inversions


def draw(inversions: dict[str, Inversion], file: Path) -> None:
    """The true inputs above what was made of them. Raises ConfigError without matplotlib, or for what is no picture."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("--plot needs matplotlib; install it with: pip install 'p2pfl-node[plot]'") from None
    first = next(iter(inversions.values()))
    rows = [("true", first.inputs), *((name, found.rebuilt) for name, found in inversions.items())]
    if first.inputs.dim() not in (3, 4):
        raise ConfigError(f"--plot: expected pictures, got examples of shape {tuple(first.inputs.shape[1:])}")
    figure = Figure(figsize=(1.1 * len(first.inputs), 1.3 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(first.inputs), squeeze=False)
    for line, (name, pictures) in zip(axes, rows, strict=True):
        for axis, picture in zip(line, pictures, strict=True):
            axis.imshow(picture.reshape(-1, *picture.shape[-2:]).mean(0), cmap="gray")
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write {file}: {error}") from None


def _trainer(target: Target) -> Callable[[Data, int], Tensor]:
    """Trains a shadow model alone, with the run's own settings, for as many steps as a node does."""
    shared, train = target.shared, target.shared.config.train

    def run(data: Data, number: int) -> Tensor:
        learner = shared.learner(Splits(data, data.subset(torch.arange(0)), target.others), train)
        x = learner.start()
        state, key = learner.init(x), derive(root(shared.config.seed), "shadow", number)
        for round_ in range(shared.config.pace.rounds):
            trained = learner.train(x, state, None, train.steps or 1, round_, key)
            x, state = trained.x, trained.state
        return x

    return run


def _joined(one: Data, other: Data) -> Data:
    return Data(torch.cat([one.x, other.x]), torch.cat([one.y, other.y]), one.name, one.classes)
