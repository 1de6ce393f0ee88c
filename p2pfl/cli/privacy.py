"""`p2pfl privacy`: what a run will cost in privacy, before it is run; and what its files give away, after it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.config import load_network
from p2pfl.errors import ConfigError

if TYPE_CHECKING:
    from p2pfl.privacy.spending import Promise

FACTORS = (0.5, 0.7, 1.0, 1.5, 2.0)


@click.group()
def privacy() -> None:
    """Plan differential privacy, and attack one's own runs."""


@privacy.command()
@click.argument("document", metavar="NETWORK", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key (repeatable).")
@json_option
def plan(document: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show what [privacy] of a network document comes to, before anything is trained.

    NETWORK is a network.toml. Prints the noise that its budget needs, or the epsilon that its noise costs, and what
    more or less noise would cost. Nothing is read but the document: the promise does not depend on the data.
    """
    from p2pfl.assemble.private import promise_of

    config = load_network(document, overrides)
    promise = promise_of(config)
    if promise is None:
        raise ConfigError(f"{document}: expected [privacy] with a unit; for example: --set 'privacy.unit=\"example\"'")
    found = planned(promise, config.privacy.clip, config.privacy.group) | {
        "nodes": len(config.nodes),
        "rounds": config.pace.rounds,
    }
    if as_json:
        print_json(found)
        return
    print_table(("plan", ""), lines_of(found))
    click.echo()
    rows = [(f"{row['noise']:.4g}", f"{row['epsilon']:.3g}", _fits(row["epsilon"], promise)) for row in found["others"]]
    print_table(("noise", "epsilon", "in budget"), rows, title="More and less noise")


def planned(promise: "Promise", clip: float, group: int = 1) -> dict[str, Any]:
    """The numbers of a plan: epsilon by the tight accountant, beside the quick one, and other noise."""
    from p2pfl.privacy.accounting import ADJACENCY, Event, epsilon_quick

    def cost(noise: float) -> float:
        return promise.cost([Event(noise, promise.rate, promise.planned)])

    unit_change = clip if promise.unit == "node" or group == 1 else 2 * clip
    shared: dict[str, Any] = {}
    if promise.coalition is not None and promise.alone is not None:
        left = {"noise_alone": promise.alone, "epsilon_alone": cost(promise.alone)}
        shared = {"coalition": promise.coalition, **left}
    return {
        "unit": promise.unit,
        "adjacency": ADJACENCY,
        "delta": promise.delta,
        "budget": promise.epsilon,
        "epsilon": cost(promise.noise),
        "epsilon_quick": epsilon_quick([promise.event(promise.planned)], promise.delta),
        "noise": promise.noise,
        "clip": clip,
        "sensitivity": unit_change,
        "deviation": promise.noise * unit_change,
        "rate": promise.rate,
        "releases": promise.planned,
        "others": [{"noise": promise.noise * f, "epsilon": cost(promise.noise * f)} for f in FACTORS],
    } | shared


def lines_of(found: dict[str, Any]) -> list[tuple[str, str]]:
    from p2pfl.runs.privacy import UNITS

    what = "steps" if found["unit"] == "example" else "local phases"
    budget = "none: trains to the end" if found["budget"] is None else f"{found['budget']:g}"
    rows = [
        ("protects", f"{UNITS[found['unit']]}, {found['adjacency']} adjacency"),
        ("delta", f"{found['delta']:g}"),
        ("budget (epsilon)", budget),
        ("epsilon of the whole run", f"{found['epsilon']:.4g} (quick bound {found['epsilon_quick']:.4g})"),
        ("noise", f"{found['noise']:.5g} times what one unit can change, {found['sensitivity']:g}"),
        ("deviation of the noise", f"{found['deviation']:.5g}"),
        (
            "releases",
            f"{found['releases']} {what} in {found['rounds']} rounds, each unit in one with {found['rate']:g}",
        ),
    ]
    if "coalition" in found:
        rows += [
            ("holds against", f"everybody, and up to {found['coalition']} members of one's cell together"),
            (
                "against all others of a cell",
                f"epsilon {found['epsilon_alone']:.4g}: one part of the noise is left, {found['noise_alone']:.4g}",
            ),
        ]
    return rows


def _fits(epsilon: float, promise: "Promise") -> str:
    return "" if promise.epsilon is None else "yes" if epsilon <= promise.epsilon else "no"


@privacy.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--node", metavar="NAME", help="Of a simulated network: which node (default: the first).")
@click.option("--shadows", type=click.IntRange(0, 256), default=8, show_default=True, help="Models to compare with.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw rebuilt inputs: .png, .svg, .pdf.")
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@json_option
def attack(run: Path, node: str | None, shadows: int, plot: Path | None, quiet: bool, as_json: bool) -> None:
    """Measure what a finished run of one's own gives away.

    RUN is a node's run folder, or that of a simulated network (`p2pfl sim --out`). Guesses which examples were trained
    on, from the final model; reads labels and rebuilds inputs from the first step's gradient, plain and, if the run
    had [privacy], as it was shown.
    """
    import torch

    from p2pfl.cli.live import counting
    from p2pfl.runs.attack import attack as measure
    from p2pfl.runs.attack import draw, load_target

    torch.set_num_threads(1)
    target = load_target(run, node)
    with counting("shadow models", quiet or as_json) as on_step:
        found, inversions = measure(target, shadows, on_step)
    if plot is not None:
        draw(inversions, plot)
    if as_json:
        print_json(found)
        return
    rows = [
        (f"members, {name}", f"AUC {g['auc']:.3f}", f"advantage {g['advantage']:.3f} (luck: below {g['chance']:.3f})")
        for name, g in found["members"].items()
    ]
    rows += [
        (f"labels, {name} gradient", f"{100 * share:.0f} % right", f"luck: {100 * found['labels']['chance']:.0f} %")
        for name, share in found["labels"].items()
        if name != "chance"
    ]
    rows += [
        (f"inputs, {name} gradient", f"likeness {share:.2f}", "1 is the input itself, 0 is luck")
        for name, share in found["pictures"].items()
    ]
    print_table(("attack", "came to", ""), rows, title=f"{run}: {found['node']}, {found['examples']} members")
