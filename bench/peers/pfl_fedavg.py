"""pfl (pfl-research) as a side of the race: FedAvg over all nodes with its simulated backend. Runs where pfl is.

    VENV/bin/python pfl_fedavg.py DATA.npz NODES

A server's average instead of everybody's own is less state than gossip, so the comparison favours pfl.
"""

import sys
from typing import Any

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam.base import NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn
from turns import Turns
from work import BATCH, LR, make_model, read, share


class Net(nn.Module):
    """The model with what pfl asks of one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = make_model("mlp")
        self.loss_of = nn.CrossEntropyLoss()

    def loss(self, x: Tensor, y: Tensor, eval: bool = False) -> Tensor:
        found: Tensor = self.loss_of(self.layers(x), y)
        return found

    def metrics(self, x: Tensor, y: Tensor, eval: bool = False) -> dict[str, Any]:
        return {}


class Pause(TrainingProcessCallback):  # type: ignore[misc]
    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_train_begin(self, *, model: Any) -> Metrics:
        self.turns.between_rounds()
        return Metrics()

    def after_central_iteration(self, *args: Any, **kwargs: Any) -> tuple[bool, Metrics]:
        self.turns.between_rounds()
        return False, Metrics()


def main(path: str, num_nodes: int) -> None:
    torch.set_num_threads(1)
    turns = Turns()
    np.random.seed(0)
    x, y = read(path)
    users = list(range(num_nodes))
    shares = {user: [part[share(user, len(x))] for part in (x, y)] for user in users}

    def dataset(user: int) -> Dataset:
        order = torch.randperm(len(shares[user][0]))  # as every side: its own order each round
        return Dataset([part[order] for part in shares[user]], user_id=str(user))

    data = FederatedDataset(dataset, get_user_sampler("minimize_reuse", users))
    net = Net()
    model = PyTorchModel(net, torch.optim.SGD, torch.optim.SGD(net.parameters(), 1.0))
    params = NNAlgorithmParams(
        central_num_iterations=1_000_000, evaluation_frequency=1_000_000, train_cohort_size=num_nodes, val_cohort_size=0
    )
    steps = NNTrainHyperParams(local_batch_size=BATCH, local_num_epochs=1, local_learning_rate=LR)
    backend, pause = SimulatedBackend(data, data), Pause(turns)
    FederatedAveraging().run(params, backend, model, steps, callbacks=[pause], send_metrics_to_platform=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
