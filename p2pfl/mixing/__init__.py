"""How neighbours' vectors become one's next model. Pure tensor functions; knows no message, edge protocol or clock.

Two kinds of rule, by what the exchange must deliver (`needs`):

- "pair": two nodes say one vector each, and both know both (`pairwise`, the default);
- "rows": a node has one row from every neighbour (`average`).
"""

from p2pfl.mixing.average import Average
from p2pfl.mixing.pairwise import Pairwise

MIXERS: dict[str, type[Pairwise] | type[Average]] = {"pairwise": Pairwise, "average": Average}

__all__ = ["MIXERS", "Average", "Pairwise"]
