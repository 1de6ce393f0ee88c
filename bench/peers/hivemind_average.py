"""One peer of hivemind's averaging. Runs where hivemind is.

    VENV/bin/python hivemind_average.py VALUES NODES NODE

It is told the addresses of a DHT to join as JSON, none for the first, and says those of its own. A round is `step()`: a
group is formed and its vectors are averaged; all nodes are to be in one. Asked anything, it tells how far its vector is
from what it began with.
"""

import json
import sys
from typing import Any

import torch
from averaged import away, drift, start
from hivemind import DHT
from hivemind.averaging import DecentralizedAverager
from hivemind.averaging.partition import AllreduceException
from paced import Paced

MATCHMAKING_S = 1.0
"""The least time that it looks for a group which is not full; a full one starts at once."""
PATIENCE_S = 10.0


class Peer:
    def __init__(self, size: int, nodes: int, node: int) -> None:
        self.begun, self.drift, self.failed = start(size), drift(node, nodes), 0
        self.paced = Paced(self.asked)
        others = json.loads(self.paced.listen())
        dht = DHT(host_maddrs=["/ip4/127.0.0.1/tcp/0"], initial_peers=others, start=True)
        self.averager = DecentralizedAverager(
            [self.begun.clone()],
            dht,
            start=True,
            prefix="bench",
            target_group_size=nodes,
            min_group_size=nodes,
            min_matchmaking_time=MATCHMAKING_S,
            request_timeout=MATCHMAKING_S * 0.9,
        )
        self.paced.ready(addresses=[str(address) for address in dht.get_visible_maddrs()])

    def asked(self, line: str) -> dict[str, Any]:
        with self.averager.get_tensors() as (x,):
            return {**away(x, self.begun), "failed": self.failed}

    def run(self) -> None:
        while True:
            self.paced.between_rounds()
            with self.averager.get_tensors() as (x,):
                x += self.drift
            try:
                self.averager.step(timeout=PATIENCE_S)
            except AllreduceException:
                self.failed += 1
                with self.averager.get_tensors() as (x,):
                    x -= self.drift


if __name__ == "__main__":
    torch.set_num_threads(1)
    Peer(*map(int, sys.argv[1:])).run()
