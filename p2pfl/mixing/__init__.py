"""How neighbours' vectors become one's next model. Pure tensor functions; knows no message, edge protocol or clock.

Two kinds of rule, by what the exchange must deliver (`needs`):

- "pair": two nodes say one vector each, and both know both (`pairwise`, the default);
- "rows": a node has one row from every neighbour (the others; the protocol for one's own is `RowMixer`, in rows.py).
"""

from p2pfl.mixing.average import Average
from p2pfl.mixing.cell import Cell
from p2pfl.mixing.choco import Choco
from p2pfl.mixing.epidemic import Epidemic
from p2pfl.mixing.fedavg import FedAvg
from p2pfl.mixing.pairwise import Pairwise
from p2pfl.mixing.push_sum import PushSum
from p2pfl.mixing.qg import QuasiGlobal
from p2pfl.mixing.rows import Crowd, Heard, Note, Phase, RowMixer, State
from p2pfl.mixing.similarity import Similarity
from p2pfl.mixing.tracking import GradientTracking

Mixer = Pairwise | RowMixer

MIXERS: dict[str, type[Pairwise] | type[RowMixer]] = {
    "pairwise": Pairwise,
    "average": Average,
    "cell": Cell,
    "choco": Choco,
    "epidemic": Epidemic,
    "fedavg": FedAvg,
    "gradient_tracking": GradientTracking,
    "push_sum": PushSum,
    "qg": QuasiGlobal,
    "similarity": Similarity,
}

__all__ = [
    "MIXERS",
    "Average",
    "Cell",
    "Choco",
    "Crowd",
    "Epidemic",
    "FedAvg",
    "GradientTracking",
    "Heard",
    "Mixer",
    "Note",
    "Pairwise",
    "Phase",
    "PushSum",
    "QuasiGlobal",
    "RowMixer",
    "Similarity",
    "State",
]
