"""What a differentially private step costs: beside a plain step, and beside opacus in its ghost mode.

    python bench/dp.py [--quick] [--json FILE] [--opacus DIR]

All sides take the same batch of the same MLP and CNN through a whole step, optimiser included; the private sides draw
their noise too. `plain` is the plain learner's step. `ours` is the learner's own clipper (ghost, and vmap for
comparison), its secure noise and its optimiser. `opacus` is `GradSampleModuleFastGradientClipping` with
`DPOptimizerFastGradientClipping` (Bu et al. 2022: two backward passes), noise from torch's generator. Opacus is not a
dependency: install it where you like (`pip install --no-deps --target DIR opacus opt_einsum`) and name the folder.
"""

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from harness import Row, bar, parse_args, race, table, write_json
from torch import nn

from p2pfl.core.noise import derive, root
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.losses import cross_entropy
from p2pfl.learn.models import cnn, mlp
from p2pfl.learn.optim import SGD
from p2pfl.learn.private_clip import Clipper, Way
from p2pfl.learn.private_draw import normal_

SHAPE, CLASSES, CLIP, NOISE, LR = (1, 28, 28), 10, 1.0, 1.1, 0.1
Factory = Callable[[], nn.Module]


def plain(factory: Factory, x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
    model, optimizer = FlatModel(factory, device="cpu"), SGD()

    def step() -> None:
        gradient = model.backward(cross_entropy(model.module(x), y))
        optimizer.update_(model.weights, gradient, {}, 0, LR)

    return step


def ours(factory: Factory, x: torch.Tensor, y: torch.Tensor, way: Way, noisy: bool = True) -> Callable[[], object]:
    model, optimizer, at = FlatModel(factory, device="cpu"), SGD(), [0]
    clipper = Clipper(model, cross_entropy, CLIP, way)

    def step() -> None:
        gradient = clipper.examples(x, y).total
        if noisy:
            normal_(gradient, derive(root(1), at[0]), CLIP * NOISE)
        optimizer.update_(model.weights, gradient.div_(len(x)), {}, 0, LR)
        at[0] += 1

    return step


def opacus(factory: Factory, x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
    """Opacus' ghost mode, by its own parts and as its own engine puts them together."""
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    module: Any = GradSampleModuleFastGradientClipping(
        factory(), batch_first=True, loss_reduction="mean", max_grad_norm=CLIP, use_ghost_clipping=True
    )
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(module.parameters(), lr=LR),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        expected_batch_size=len(x),
    )
    criterion = DPLossFastGradientClipping(module, optimizer, nn.CrossEntropyLoss(), loss_reduction="mean")

    def step() -> None:
        optimizer.zero_grad()
        criterion(module(x), y).backward()
        optimizer.step()

    return step


def with_opacus(folder: Path | None) -> bool:
    if folder is not None:
        sys.path.append(str(folder))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import opacus  # noqa: F401
    except ImportError as error:
        print(f"opacus is not here ({error}); its rows are left out", file=sys.stderr)
        return False
    return True


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")

    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--opacus", type=Path, metavar="DIR", help="a folder that opacus was installed into")

    args = parse_args(__doc__, more)
    there = with_opacus(args.opacus)
    models: dict[str, Factory] = {"mlp": lambda: mlp(SHAPE, CLASSES), "cnn": lambda: cnn(SHAPE, CLASSES)}
    rows: list[Row] = []
    ratios: dict[tuple[str, int], tuple[float, float]] = {}
    for name, factory in models.items():
        for batch in (256,) if args.quick else (64, 256):
            x, y = torch.randn(batch, *SHAPE), torch.randint(CLASSES, (batch,))
            sides = {"plain": plain(factory, x, y), "ghost": ours(factory, x, y, "ghost")}
            sides["ghost, no noise"] = ours(factory, x, y, "ghost", noisy=False)
            if name == "mlp" and not args.quick:
                sides["vmap"] = ours(factory, x, y, "vmap")
            if there:
                sides["opacus"] = opacus(factory, x, y)
            repeats = (15 if args.quick else 31) if name == "mlp" else (3 if args.quick else 5)
            seconds = race(sides, repeats)
            base = seconds["plain"]
            for side, spent in seconds.items():
                rows.append({"model": name, "batch": batch, "step": side, "of plain": spent / base, "ms": spent * 1e3})
            ratios[name, batch] = (seconds["ghost"] / base, seconds.get("opacus", 0.0) / seconds["ghost"])
    table(rows)
    of_plain, of_opacus = ratios["mlp", 256]
    bar("mlp: DP step of a plain step", of_plain, wanted=2.0, at_least=False)
    if there:
        bar("mlp: faster than opacus' ghost mode", of_opacus, wanted=1.5)
        bar("cnn: faster than opacus' ghost mode", ratios["cnn", 256][1], wanted=1.0)
    write_json(args, rows)


if __name__ == "__main__":
    main()
