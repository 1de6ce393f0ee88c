"""Flower as a side of the race: FedAvg over all nodes, two Ray workers. Runs where Flower is.

    VENV/bin/python flower_fedavg.py DATA.npz NODES

A server's average instead of everybody's own is less state than gossip, so the comparison favours Flower. Its work is
that of several processes: only the seconds that pass (`wall`) mean something.
"""

import sys

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import nn
from turns import Turns
from work import BATCH, LR, SHARE, make_model, read, share

WORKERS = 2
PATH, NODES = sys.argv[1], int(sys.argv[2])

client = ClientApp()
server = ServerApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    torch.set_num_threads(1)
    model = make_model("mlp")
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer, loss_of = torch.optim.SGD(model.parameters(), lr=LR), nn.CrossEntropyLoss()
    x, y = read(PATH)
    order = share(int(context.node_config["partition-id"]), len(x))[torch.randperm(SHARE)]
    for batch in torch.split(order, BATCH):
        optimizer.zero_grad()
        loss_of(model(x[batch]), y[batch]).backward()
        optimizer.step()
    metrics = MetricRecord({"num-examples": SHARE})
    return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)


@server.main()
def serve(grid: Grid, context: Context) -> None:
    turns = Turns()

    def after_round(number: int, arrays: ArrayRecord) -> None:
        turns.between_rounds()

    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_available_nodes=NODES)
    start = ArrayRecord(make_model("mlp").state_dict())
    strategy.start(grid=grid, initial_arrays=start, num_rounds=1_000_000, evaluate_fn=after_round)


def main() -> None:
    workers = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"num_cpus": WORKERS}}
    run_simulation(server, client, NODES, backend_config=workers)


if __name__ == "__main__":
    main()
