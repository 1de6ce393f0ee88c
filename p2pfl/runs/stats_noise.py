"""What noise an answered question about a column needs. Knows numbers; knows no data, node or message.

The unit is one row of one node; adjacency is zero-out (privacy/accounting.py). A row adds 1 to the count, at most 1 to
the sum and to the sum of squares (values are taken as parts of the range), and 1 to one bin: 2 in length at most. Noise
is discrete, and shared out among the nodes as in privacy/sharing.py: up to `coalition` of them may work together.
"""

from dataclasses import dataclass
from math import sqrt

from p2pfl.errors import ConfigError
from p2pfl.privacy.accounting import Event, check_target, epsilon_quick, require, solve_noise
from p2pfl.privacy.sharing import SharedNoise

ROW_LENGTH = 2.0


@dataclass(frozen=True, slots=True)
class Promised:
    """epsilon, delta: of each row, against everybody and `coalition` nodes together."""

    epsilon: float
    delta: float = 1e-6
    coalition: int = 1

    def __post_init__(self) -> None:
        check_target(self.epsilon, self.delta)
        if self.coalition < 0:
            raise ConfigError(f"stats: expected a coalition of 0 nodes or more, got {self.coalition}")

    def noise(self, nodes: int) -> SharedNoise:
        """Raises ConfigError: too many who work together, or no noise is enough."""
        if self.coalition > nodes - 2:
            raise ConfigError(
                f"stats: expected a coalition of at most {nodes - 2} of {nodes} nodes, got {self.coalition}: "
                "a sum of one node hides nothing"
            )
        require()
        noise = solve_noise(1.0, 1, self.epsilon, self.delta, epsilon_quick)
        return SharedNoise(ROW_LENGTH, noise, self.coalition)

    def alone(self, nodes: int) -> float:
        """Epsilon against all other nodes together."""
        return epsilon_quick([Event(self.noise(nodes).alone(nodes, nodes), 1.0, 1)], self.delta)

    def deviation(self, nodes: int, unit: float, size: int) -> float:
        """Of each figure of the sum, as the nodes' parts add up; `unit` of the grid, `size` figures."""
        return sqrt(nodes) * unit * self.noise(nodes).deviation(nodes, nodes, unit, size)
