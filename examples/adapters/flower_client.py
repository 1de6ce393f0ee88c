"""A Flower client as people have them, and what it takes to join a network: the two lines that are marked.

    p2pfl init trial --nodes 4 --app flower_client.py:app
    p2pfl sim trial/network.toml

Flower need not be installed: NumPyClient is only asked for get_parameters, fit and evaluate.
"""

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import p2pfl  # 1

try:
    from flwr.client import NumPyClient
except ImportError:
    NumPyClient = object

Arrays = list[np.ndarray[Any, Any]]
NUM_CLIENTS = 4


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layers(x)
        return scores


def load_data(partition_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Each client has mostly two or three of the ten digits; all are judged by the same test set."""
    images, digits = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits)
    test = torch.arange(len(x)) % 5 == 0
    mine = ~test & ((y * NUM_CLIENTS // 10 == partition_id) | (torch.arange(len(x)) % 29 == partition_id))
    return x[mine], y[mine], x[test], y[test]


class FlowerClient(NumPyClient):  # type: ignore[misc, valid-type]
    def __init__(self, partition_id: int) -> None:
        self.net = Net()
        self.x, self.y, self.x_test, self.y_test = load_data(partition_id)

    def get_parameters(self, config: dict[str, Any]) -> Arrays:
        return [value.cpu().numpy() for value in self.net.state_dict().values()]

    def set_parameters(self, parameters: Arrays) -> None:
        names = self.net.state_dict().keys()
        self.net.load_state_dict({name: torch.tensor(value) for name, value in zip(names, parameters, strict=True)})

    def fit(self, parameters: Arrays, config: dict[str, Any]) -> tuple[Arrays, int, dict[str, float]]:
        self.set_parameters(parameters)
        self.net.train()
        optimizer, loss = torch.optim.SGD(self.net.parameters(), lr=0.05), torch.tensor(0.0)
        for rows in torch.randperm(len(self.x)).split(32)[:5]:
            if len(rows) > 1:  # a batch norm has nothing to say of one sample
                loss = nn.functional.cross_entropy(self.net(self.x[rows]), self.y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return self.get_parameters({}), len(self.x), {"train_loss": loss.item()}

    def evaluate(self, parameters: Arrays, config: dict[str, Any]) -> tuple[float, int, dict[str, float]]:
        self.set_parameters(parameters)
        self.net.eval()
        with torch.no_grad():
            scores = self.net(self.x_test)
        right = (scores.argmax(1) == self.y_test).float().mean()
        return nn.functional.cross_entropy(scores, self.y_test).item(), len(self.x_test), {"accuracy": right.item()}


app = p2pfl.adapt(FlowerClient)  # 2
