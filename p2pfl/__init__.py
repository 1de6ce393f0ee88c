"""p2pfl: many machines train one model together, with nobody in the middle.

import p2pfl

result = p2pfl.simulate("network.toml", nodes=16, pace={"rounds": 50})
result.frame()                       # accuracy, bytes and seconds as the run goes on
p2pfl.adapt(estimator, (X, y))       # what you have already, as the parts of a node
p2pfl.start_node("node.toml")        # a process of its own
p2pfl.read_ledger("run").frame()     # what it recorded
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from p2pfl.adapters.adapted import Adapted
    from p2pfl.runs.call import Result
    from p2pfl.runs.reading import Reading
    from p2pfl.runs.simulate import World
    from p2pfl.runs.start import Running

__version__ = "0.1.0"
__all__ = ["__version__", "adapt", "read_ledger", "simulate", "start_node"]


def adapt(
    part: Any,
    data: Any = None,
    *,
    label: str | None = None,
    config: Mapping[str, Any] | None = None,
    partitions: int | None = None,
) -> "Adapted":
    """What you have already, as the parts of a node: give it to `simulate`, or name it in a document
    (`p2pfl init --app client.py:app`).

    part: a linear scikit-learn estimator (SGDClassifier, SGDRegressor, LogisticRegression, ...); the class of a Flower
    NumPyClient, or its client_fn; a torch module, or what makes one. data: a pair (X, y), a map-style torch Dataset, or
    a pandas frame, whose column `label` is to be learned; a Flower client has its own. config: what a Flower client's
    fit and evaluate get as their config. partitions: its context's "num-partitions".

    Raises `p2pfl.errors.ConfigError`, in one line, for what does not fit.
    """
    from p2pfl.adapters.adapt import adapt as adapt_part

    return adapt_part(part, data, label=label, config=config, partitions=partitions)


def simulate(
    document: "str | Path | Mapping[str, Any] | Adapted",
    *,
    engine: Literal["events", "dense"] = "events",
    nodes: int | None = None,
    baselines: bool = False,
    world: "World | None" = None,
    **overrides: Any,
) -> "Result":
    """Run a whole network in this process, from the seed in its document; the same call gives the same result.

    document: the path of a network.toml, or its content as a dict, or what `adapt` gave. overrides: a section with some
    of its keys, `pace={"rounds": 50}`, or whole keys, `**{"pace.rounds": 50}`. nodes: so many instead of the
    document's (16 if it lists none). engine: "events" runs the node's code in virtual time, in a `world` of latencies
    and faults (`p2pfl.runs.simulate.World`); "dense" its arithmetic alone. baselines: also train centralised and every
    node alone.

    The result has `.rounds` (one record per evaluation), `.frame()` (them as a pandas DataFrame), `.summary` and
    `.save(folder)`. Raises `p2pfl.errors.ConfigError`, in one line, for what cannot be run.
    """
    from p2pfl.runs.call import run_call

    return run_call(document, engine=engine, nodes=nodes, baselines=baselines, world=world, overrides=overrides)


def start_node(document: str | Path, resume: bool = False) -> "Running":
    """Start the node of a node.toml as a process of its own, as `p2pfl node --config` does.

    The result has `.outcome` (how far it is), `.wait()` (its summary) and `.stop()`; in a `with` it ends with the
    block. resume: go on with the run that the folder holds, or begin one. What the node says is in log.txt beside the
    document.
    Raises `p2pfl.errors.ConfigError`, in one line, for a document that cannot be used.
    """
    from p2pfl.runs.start import start_node as start

    return start(document, resume)


def read_ledger(source: str | Path, node: str | None = None) -> "Reading":
    """What nodes recorded, as data: a run's folder, a folder of such folders, a node.db, or the URL of a running node.

    The result has `.feeds()` and `.frame()` (every entry), `.final()` (what all agree on), `.balances()`,
    `.explain(who)` and `.problems()` (everything verified again; empty if all is sound). node: only this one's.
    """
    from p2pfl.runs.reading import Reading

    return Reading(str(source), node)
