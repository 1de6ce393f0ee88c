"""One node of p2pfl 0.4.4 (the package of that name on the index, another project), driven by its public interface.

    VENV/bin/python p2pfl_node.py DATA.npz PORT ROUNDS SETTINGS

Its settings are "standalone", the library's own for its examples, or "default". It says that it is ready, is told whom
to connect to, whom it must know of, and at one node to start; and says at last when each of its rounds ended and how
good its model is. Two things are helped along, both in its favour: a stand-in for torchvision, which one of its modules
imports for a data set that is not used here, and Ray is off.
"""

import json
import os
import sys
import threading
import time
import types
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
os.chdir(Path(sys.argv[1]).parent)  # it writes logs where it is when it is imported

import lightning  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from datasets import Dataset, DatasetDict  # noqa: E402
from torch import Tensor, nn  # noqa: E402

STAND_IN = {name: types.ModuleType(name) for name in ("torchvision", "torchvision.datasets")}
sys.modules.update(STAND_IN)
STAND_IN["torchvision"].datasets = STAND_IN["torchvision.datasets"]  # type: ignore[attr-defined]

from p2pfl.settings import Settings  # noqa: E402

Settings.general.DISABLE_RAY = True  # before any other import of it, which would start Ray

import p2pfl.learning.frameworks.pytorch.lightning_learner  # noqa: E402, F401
from p2pfl.learning.dataset.p2pfl_dataset import P2PFLDataset  # noqa: E402
from p2pfl.learning.frameworks.pytorch.lightning_model import LightningModel  # noqa: E402
from p2pfl.node import Node  # noqa: E402
from p2pfl.utils.utils import set_standalone_settings  # noqa: E402

for name in STAND_IN:
    del sys.modules[name]

BATCH, LR = 64, 1e-3
LOOK_S = 0.01


class Net(lightning.LightningModule):
    """The model of the task, with what Lightning asks of one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.float())  # type: ignore[no-any-return]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=LR)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch["x"]), batch["y"])

    def test_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        loss = nn.functional.cross_entropy(self(batch["x"]), batch["y"])
        self.log("test_loss", loss)
        return loss


def read(path: Path) -> tuple[P2PFLDataset, Tensor, Tensor]:
    """The node's share; what it is judged by is judged here, not in its rounds, beyond one sample that it must have."""
    with np.load(path, allow_pickle=False) as arrays:
        x, y, test_x, test_y = (arrays[name] for name in ("x", "y", "test_x", "test_y"))
    parts = {
        "train": Dataset.from_dict({"x": x, "y": y}),
        "test": Dataset.from_dict({"x": test_x[:1], "y": test_y[:1]}),
    }
    data = P2PFLDataset(DatasetDict(parts), batch_size=BATCH)
    return data, torch.from_numpy(test_x), torch.from_numpy(test_y)


def follow(node: Node, rounds: int) -> list[float]:
    """When it was first seen in each round, and at its end."""
    seen: list[float] = []
    last: object = None
    while not (seen and node.learning_workflow.finished):
        now = node.state.round
        if now is not None and now != last:
            seen.append(time.time())
            last = now
        time.sleep(LOOK_S)
    return [*seen[: rounds + 1], time.time()]


def accuracy(node: Node, x: Tensor, y: Tensor) -> float:
    net = Net()
    for own, given in zip(net.state_dict().values(), node.learner.get_model().get_parameters(), strict=True):
        own.copy_(torch.as_tensor(given))
    with torch.no_grad():
        return float((net(x).argmax(1) == y).float().mean())


def main(data_path: str, port: str, rounds: int, settings: str) -> None:
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(**what: object) -> None:
        print(json.dumps(what), file=told, flush=True)

    if settings == "standalone":
        set_standalone_settings()
    data, test_x, test_y = read(Path(data_path))
    node = Node(LightningModel(Net()), data, addr=f"127.0.0.1:{port}")
    node.start()
    tell(ready=True)

    def finish() -> None:
        times = follow(node, rounds)
        tell(times=times, accuracy=accuracy(node, test_x, test_y))

    threading.Thread(target=finish, daemon=True).start()
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "connect":
            tell(connected=[node.connect(address) for address in rest])
        elif word == "know":
            deadline = time.time() + 60
            while len(node.get_neighbors()) < int(rest[0]) and time.time() < deadline:
                time.sleep(LOOK_S)
            tell(known=len(node.get_neighbors()))
        elif word == "start":
            node.set_start_learning(rounds=rounds, epochs=1, trainset_size=int(rest[0]))
    os._exit(0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
