"""Strategies by name, and lists of them as people write them: `honest*6,copycat,freerider`."""

from p2pfl.errors import ConfigError
from p2pfl.strategies.data import Duplicate, LabelNoise
from p2pfl.strategies.lazy import LastModel, Noise, SampleLiar, Zero
from p2pfl.strategies.lead import GrindingLeader
from p2pfl.strategies.strategy import HONEST, Strategy
from p2pfl.strategies.talk import Colluder, Copycat, NoReveal, ScoreLiar, StaleCopycat, Withholder
from p2pfl.strategies.wire import PoisonWire, ZeroWire

ALL: tuple[type[Strategy], ...] = (
    *(Strategy, Zero, Noise, LastModel, SampleLiar, Copycat, StaleCopycat, ZeroWire, PoisonWire),
    *(LabelNoise, Duplicate, ScoreLiar, Colluder, NoReveal, Withholder, GrindingLeader),
)
STRATEGIES: dict[str, type[Strategy]] = {strategy.name: strategy for strategy in ALL}
NODES_MAX = 1024


def make_strategy(name: str, friends: frozenset[bytes] = frozenset()) -> Strategy:
    """Raises ConfigError for a name that there is not."""
    if name not in STRATEGIES:
        raise ConfigError(f"expected a strategy of {', '.join(sorted(STRATEGIES))}, got {name!r}")
    return HONEST if name == HONEST.name else STRATEGIES[name](friends)


def parse_strategies(text: str) -> tuple[str, ...]:
    """`honest*6,copycat` -> one name for each node. Raises ConfigError."""
    names: list[str] = []
    for item in text.split(","):
        name, star, count = item.strip().partition("*")
        if star and not (count.isdecimal() and 0 < int(count) <= NODES_MAX):
            raise ConfigError(f"expected strategies like honest*6,copycat, got {item.strip()!r}")
        make_strategy(name)
        names += [name] * (int(count) if star else 1)
    if len(names) > NODES_MAX:
        raise ConfigError(f"expected at most {NODES_MAX} strategies, got {len(names)}")
    return tuple(names)
