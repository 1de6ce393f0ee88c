"""The two documents of a network as typed, strict dataclasses. Imports no torch and follows no name.

network = load_network(Path("network.toml"), ["pace.rounds=50"])
node = load_node(Path("node.toml"))          # node.network, node.train and node.data are ready to use
"""

from p2pfl.config.documents import (
    KeyDoc,
    dump_toml,
    keys,
    load_changed,
    load_network,
    load_node,
    parse_network,
    to_plain,
)
from p2pfl.config.schema import (
    CompressConfig,
    DataConfig,
    DistillConfig,
    MixConfig,
    ModelConfig,
    NetworkConfig,
    NodeConfig,
    NodeEntry,
    PaceConfig,
    PartitionConfig,
    PersonalConfig,
    PrivacyConfig,
    ScheduleConfig,
    TopologyConfig,
    TrainConfig,
    ValuationConfig,
    check_nodes,
)
from p2pfl.config.strict import Origin, Reference

__all__ = [
    "CompressConfig",
    "DataConfig",
    "DistillConfig",
    "KeyDoc",
    "MixConfig",
    "ModelConfig",
    "NetworkConfig",
    "NodeConfig",
    "NodeEntry",
    "Origin",
    "PaceConfig",
    "PartitionConfig",
    "PersonalConfig",
    "PrivacyConfig",
    "Reference",
    "ScheduleConfig",
    "TopologyConfig",
    "TrainConfig",
    "ValuationConfig",
    "check_nodes",
    "dump_toml",
    "keys",
    "load_changed",
    "load_network",
    "load_node",
    "parse_network",
    "to_plain",
]
