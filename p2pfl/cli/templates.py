"""The texts that `p2pfl init` and `p2pfl network new` write. Know what they say; know no file.

They are documents with comments, so they are templates and not a dump of a dataclass; a test reads them back.
"""

from dataclasses import dataclass
from string import Template

TASK_FILE = "task.py"


@dataclass(frozen=True, slots=True)
class Sample:
    """A data set that needs no download, and what a model must look like for it."""

    source: str
    model: str
    input_shape: tuple[int, ...]
    num_classes: int
    lr: float
    train: str = ""
    """More lines of [train]."""
    steps: int = 5
    batch_size: int = 32
    partition: str = 'partition = { by = "dirichlet", alpha = 0.5 }   # each node sees a different mix of labels'
    validation_fraction: float = 0.1


SAMPLES = {
    "digits": Sample("digits", "mlp", (1, 8, 8), 10, 0.2),
    "breast_cancer": Sample("breast_cancer", "mlp", (30,), 2, 0.05),
    TASK_FILE: Sample(f"{TASK_FILE}:data", f"{TASK_FILE}:model", (2,), 2, 0.1),
}

_NETWORK = Template("""\
# The network document: the same on every machine. What is agreed here (model, rule, codec, pace, graph, seed) makes the
# recipe, and nodes with different recipes refuse each other. All keys: docs/configuration.md

format = 1
name = "$name"
seed = 1                        # gives the starting model; a simulation takes all its randomness from it

[model]
name = "$model"$model_pad
input_shape = $input_shape
num_classes = $num_classes
# args = { hidden = [256, 128] }

[mix]
rule = "pairwise"               # meet one neighbour at a time; "average" mixes whole neighbourhoods, in lockstep

[compress]
codec = "deadzone"              # most of a vector does not travel; "fp32" sends all of it

[pace]
# mode = "lockstep"             # ends a round together; by default nobody waits longer than pays
rounds = 100                    # local phases of every node

[topology]
family = "$topology"$topology_pad
# file = "graph.toml"           # instead of a family: a graph of your own, .toml or .py

[membership]
probe_s = 1.0                   # nodes watch each other; the graph closes over those that are gone (0: nobody watches)
# admission = "token"           # newcomers come in with: p2pfl network token issue; p2pfl node --join URL --token FILE

[train]                         # every node's default; its node.toml may override any of these
optimizer = "sgd"
lr = $lr
batch_size = $batch_size
steps = $steps                       # local steps between two exchanges
$train
[data]                          # for trials: one data set, cut into a share for every node
source = "$source"$source_pad
$partition
test_fraction = 0.2
validation_fraction = $validation_fraction

$ledger# Who takes part. Add a machine with: p2pfl network add NAME PUBLIC_KEY URL
""")

_NODE = Template("""\
# One machine's own document. Paths are relative to this file.

format = 1
name = "$name"
network = "../../network.toml"
key_file = "key"                # secret: stays on this machine
listen = "$listen"
out = "run"                     # state, feed, model and metrics are written here

[data]
index = $index                       # this node's share of the data set that network.toml names
# On a machine with data of its own, instead of index:
# source = "csv"
# path = "patients.csv"
# label = "outcome"

[train]
# lr = 0.1                      # any key of network.toml's [train], for this node alone
""")

TASK = '''\
"""A model and a data set of your own. Use them in network.toml:

    [model]
    name = "task.py:model"
    input_shape = [2]
    num_classes = 2

    [data]
    source = "task.py:data"

Change both to what you have; the rest of p2pfl needs to know no more than this.
"""

import numpy as np
from torch import nn


def model(input_shape, num_classes, width=32):
    """Any torch.nn.Module whose output is (batch, num_classes). Other parameters come from [model] args."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(int(np.prod(input_shape)), width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, num_classes),
    )


def data(samples=2000, noise=0.1):
    """(x, y): samples as float32 and labels 0, 1, ... as int64. Other parameters come from [data] args.

    Here two half moons that reach into each other. Must give the same samples in every call.
    """
    rng = np.random.default_rng(0)
    y = np.arange(samples) % 2
    angle = rng.uniform(0, np.pi, samples)
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x[y == 1] = [1.0, 0.5] - x[y == 1]
    return (x + rng.normal(0, noise, x.shape)).astype(np.float32), y.astype(np.int64)
'''


_LEDGER = """\
[ledger]                        # all nodes agree on one order of what they recorded, and on who is paid for it
genesis = "genesis.toml"        # permanent; without this section there are feeds only: see p2pfl genesis --help

"""


def network_text(name: str, sample: Sample, topology: str, ledger: bool = False) -> str:
    """A whole network.toml without nodes; `ledger`: with a genesis.toml beside it."""

    def pad(key: str, value: str) -> str:
        return " " * max(1, 32 - len(f'{key} = "{value}"'))

    return _NETWORK.substitute(
        ledger=_LEDGER if ledger else "",
        name=name,
        model=sample.model,
        model_pad=pad("name", sample.model) + "# mlp, cnn, linear, or your own: task.py:model",
        input_shape=list(sample.input_shape),
        num_classes=sample.num_classes,
        topology=topology,
        topology_pad=pad("family", topology) + "# torus, small-world, ...: see docs/configuration.md",
        lr=sample.lr,
        steps=sample.steps,
        batch_size=sample.batch_size,
        train=sample.train,
        partition=sample.partition,
        validation_fraction=sample.validation_fraction,
        source=sample.source,
        source_pad=pad("source", sample.source) + "# digits, breast_cancer, mnist, csv, npz, or task.py:data",
    )


def node_text(name: str, listen: str, index: int) -> str:
    """A whole node.toml."""
    return _NODE.substitute(name=name, listen=listen, index=index)
