"""p2pfl: many machines train one model together, with nobody in the middle.

import p2pfl

result = p2pfl.simulate("network.toml", nodes=16, pace={"rounds": 50})
result.frame()                       # accuracy, bytes and seconds as the run goes on
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from p2pfl.runs.call import Result
    from p2pfl.runs.simulate import World

__version__ = "0.1.0"
__all__ = ["__version__", "simulate"]


def simulate(
    document: str | Path | Mapping[str, Any],
    *,
    engine: Literal["events", "dense"] = "events",
    nodes: int | None = None,
    baselines: bool = False,
    world: "World | None" = None,
    **overrides: Any,
) -> "Result":
    """Run a whole network in this process, from the seed in its document; the same call gives the same result.

    document: the path of a network.toml, or its content as a dict. overrides: a section with some of its keys,
    `pace={"rounds": 50}`, or whole keys, `**{"pace.rounds": 50}`. nodes: so many instead of the document's (16 if it
    lists none). engine: "events" runs the node's code in virtual time, in a `world` of latencies and faults
    (`p2pfl.runs.simulate.World`); "dense" its arithmetic alone. baselines: also train centralised and every node alone.

    The result has `.rounds` (one record per evaluation), `.frame()` (them as a pandas DataFrame), `.summary` and
    `.save(folder)`. Raises `p2pfl.errors.ConfigError`, in one line, for what cannot be run.
    """
    from p2pfl.runs.call import run_call

    return run_call(document, engine=engine, nodes=nodes, baselines=baselines, world=world, overrides=overrides)
