"""The same rounds over HTTP on loopback as in virtual time: bit for bit."""

from typing import Any

import pytest


@pytest.mark.slow
def test_secure_cells_over_http(kit: Any) -> None:
    config = kit.document(
        topology={"family": "complete"}, mix={"rule": "cell", "size": 4}, compress={"codec": "fp32"}, pace={"rounds": 4}
    )
    simulated, entropy = kit.in_virtual_time(config)
    real = kit.over_http(config, entropy)
    assert {name: end.x for name, end in real.items()} == {name: end.x for name, end in simulated.items()}
