"""Whether a rule of neighbourhoods or of cells can run in this network, and at which pace. Knows rules and graphs."""

from importlib import import_module
from importlib.util import find_spec
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from p2pfl.compress import Codec
from p2pfl.config import NetworkConfig, TrainConfig
from p2pfl.core.limits import SECTIONS_MAX
from p2pfl.core.vectors import ParamSchema
from p2pfl.errors import ConfigError
from p2pfl.horizontal.pace.timetable import Timetable, parse_spans
from p2pfl.horizontal.terms.recipe import Mode
from p2pfl.mixing import Cell, Mixer, RowMixer
from p2pfl.mixing.choco import Choco
from p2pfl.mixing.rows import WEIGHTINGS
from p2pfl.topology.graphs.graph import Topology


def usual_mode(mixer: Mixer) -> Mode:
    """The pace that suits a rule: nobody waits where nobody has to."""
    if mixer.needs == "pair":
        return "async"
    return "lockstep" if isinstance(mixer, Cell) or mixer.every_row else "semi_sync"


def timetable_of(train: TrainConfig, mode: Mode, wall_ms_at_zero: int) -> Timetable | None:
    """When a node does not train. Raises ConfigError."""
    if not train.pauses:
        return None
    if mode == "lockstep":
        raise ConfigError(
            'train.pauses: in lockstep everybody waits for everybody: expected pace.mode "async" or "semi_sync"'
        )
    try:
        zone = ZoneInfo(train.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"train.zone: expected a time zone like Europe/Berlin, got {train.zone[:60]!r}") from None
    return Timetable(parse_spans(train.pauses), zone, wall_ms_at_zero)


def check_rows(mixer: RowMixer, config: NetworkConfig, schema: ParamSchema, topology: Topology) -> None:
    """Whether a neighbourhood rule can run in this network."""
    rule = f"mix.rule {str(config.mix.rule)!r}"
    mode = config.pace.mode or usual_mode(mixer)
    if mode == "async":
        raise ConfigError(f'{rule} mixes whole neighbourhoods in rounds: set pace.mode = "semi_sync" or "lockstep"')
    if mode == "semi_sync" and usual_mode(mixer) != "semi_sync":
        raise ConfigError(f'{rule} needs every row of every neighbour: set pace.mode = "lockstep"')
    if mixer.weighting not in WEIGHTINGS:
        raise ConfigError(f"{rule}: expected a weighting of {', '.join(WEIGHTINGS)}, got {mixer.weighting!r}")
    count = mixer.vectors * len(schema.groups)
    if mixer.vectors < 1 or count > SECTIONS_MAX:
        raise ConfigError(f"{rule}: expected to say 1 to {SECTIONS_MAX} groups of values in a message, got {count}")
    if topology.phases and (isinstance(mixer, Choco) or mixer.weighting == "everybody"):
        raise ConfigError(f"{rule} needs a graph that does not change: everybody must hear every row of a neighbour")
    if mixer.weighting == "everybody":
        missing = next((n for n in topology.nodes if topology.degree(n) < len(topology.nodes) - 1), None)
        if missing is not None:
            raise ConfigError(f'{rule} needs everybody to know everybody: set topology.family = "complete"')


def check_cells(mixer: Cell, codec: Codec, config: NetworkConfig, topology: Topology) -> None:
    """Whether secure cells can be formed, and what is said can be summed."""
    if find_spec("cryptography") is None:
        raise ConfigError('mix.rule "cell": expected the extra "secure": pip install "p2pfl-node[secure]"')
    import_module("p2pfl.horizontal.cells.codec").check_codec(codec, str(config.compress.codec))
    if topology.phases:
        raise ConfigError('mix.rule "cell" needs a graph that does not change: cells are drawn anew by themselves')
    if mixer.scope == "neighbourhood" and max(topology.degree(name) for name in topology.nodes) < 2:
        raise ConfigError('mix.rule "cell": expected nodes with 2 neighbours or more: a cell has at least 3 members')
    if len(topology.nodes) < 3:
        raise ConfigError(f'mix.rule "cell": expected 3 nodes or more, got {len(topology.nodes)}')
