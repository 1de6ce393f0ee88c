"""The plain loop: an nn.Module and a torch.optim.SGD a node, one after another, then averages. Knows no p2pfl.

    python plain.py DATA.npz NODES mlp|cnn

What somebody writes who wants gossip and no framework. Averaging is over a random 4-regular graph, where all weights
(Metropolis) are 1/5: models are laid side by side as rows, and sums of rows copied back.
"""

import sys

import networkx
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from turns import Turns
from work import BATCH, LR, SHARE, make_model, read, share


class Node:
    def __init__(self, number: int, kind: str, samples: int) -> None:
        self.model = make_model(kind)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LR)
        self.rows = share(number, samples)

    def train(self, x: Tensor, y: Tensor, loss_of: nn.Module) -> None:
        order = self.rows[torch.randperm(SHARE)]
        for batch in torch.split(order, BATCH):
            self.optimizer.zero_grad()
            loss_of(self.model(x[batch]), y[batch]).backward()
            self.optimizer.step()


def average(nodes: list[Node], neighbours: Tensor) -> None:
    """x_i = (x_i + sum of its neighbours' x_j) / 5; neighbours (N, 4)."""
    with torch.no_grad():
        rows = torch.stack([parameters_to_vector(node.model.parameters()) for node in nodes])
        for node, own, others in zip(nodes, rows, neighbours, strict=True):
            vector_to_parameters((rows[others].sum(0) + own) / (1 + len(others)), node.model.parameters())


def main(path: str, num_nodes: int, kind: str) -> None:
    torch.set_num_threads(1)
    turns = Turns()
    x, y = read(path)
    graph = networkx.random_regular_graph(4, num_nodes, seed=0)
    neighbours = torch.tensor([sorted(graph[node]) for node in range(num_nodes)])
    nodes = [Node(number, kind, len(x)) for number in range(num_nodes)]
    loss_of = nn.CrossEntropyLoss()
    while True:
        turns.between_rounds()
        for node in nodes:
            node.train(x, y, loss_of)
        average(nodes, neighbours)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
