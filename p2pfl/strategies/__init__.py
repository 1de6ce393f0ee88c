"""How nodes could behave, for trials of a network's incentives: honest, and each way of earning without working.

Public: `STRATEGIES` by name, `make_strategy`, and the class `Strategy` for your own.
"""

from p2pfl.strategies.catalogue import STRATEGIES, make_strategy, parse_strategies
from p2pfl.strategies.strategy import HONEST, Strategy

__all__ = ["HONEST", "STRATEGIES", "Strategy", "make_strategy", "parse_strategies"]
