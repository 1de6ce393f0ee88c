"""The network's model and training without the network: what a share of the data gives on its own. Knows no message.

Where `baselines` says how well such models do on the common test set, this gives the models, to be judged by whatever
the task asks; all shares are trained side by side.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from p2pfl.assemble.network import Shared
from p2pfl.config.adapting import factory_of
from p2pfl.core.noise import derive, root
from p2pfl.learn.crew import Order
from p2pfl.learn.data import Held
from p2pfl.learn.flat import FlatModel
from p2pfl.runs.crews import crew_of


def train_apart(
    shared: Shared,
    held: Held,
    shares: Sequence[Tensor],
    steps: int | None = None,
    on_round: Callable[[int, int], None] = lambda done, of: None,
    draw: int = 0,
) -> Tensor:
    """Models (len(shares), P), each trained on its own rows of `held.train` alone: the network's start, optimiser,
    batch size and rates, and `steps` a round, the network's own if None. `draw` above 0: from another start and in
    other batches, for ensembles. Same arguments, same result."""
    config = shared.config
    rounds, steps = config.pace.rounds, steps or config.train.steps or 1
    crew = crew_of(shared, held, shares, "auto", None)
    x = start_of(shared, draw).expand(len(shares), -1).clone()
    slots = crew.slots(len(shares), x[0])
    keys = [derive(root(config.seed + draw), "apart", number) for number in range(len(shares))]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what comes out must not depend on how many cores there are
    try:
        for round_ in range(rounds):
            orders = [Order(number, round_, steps, round_ * steps, key) for number, key in enumerate(keys)]
            for _ in crew.train(x, slots, lambda nodes: None, orders):
                pass
            on_round(round_ + 1, rounds)
    finally:
        torch.set_num_threads(threads)
    return x


def start_of(shared: Shared, draw: int) -> Tensor:
    """The starting model (P,) of that draw; 0: the network's."""
    if not draw:
        return shared.model.start()
    return FlatModel(factory_of(shared.config.model), shared.config.seed + draw).start()
