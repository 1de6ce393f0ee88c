"""Every neighbourhood rule over HTTP and in the simulator: the same bits at every node."""

import pytest

from p2pfl.mixing import MIXERS

RULES = [rule for rule in MIXERS if rule not in ("pairwise", "average")]  # those are in test_hosts.py, with all codecs


@pytest.mark.parametrize("rule", RULES)
def test_http_equals_the_simulator(kit, rule):
    family = "complete" if rule in ("fedavg", "epidemic", "push_sum") else "ring"
    fanout = {"fanout": 2} if rule in ("epidemic", "push_sum") else {}
    codec = "fp32" if rule == "cell" else "fp16"
    config = kit.document(mix={"rule": rule, **fanout}, compress={"codec": codec}, topology={"family": family})
    simulated, entropy = kit.in_virtual_time(config)
    assert kit.over_http(config, entropy) == simulated
