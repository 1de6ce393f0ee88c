"""Networks whose nodes cannot all be reached, and that speak TLS: trained, verified and agreed as any other."""

import pytest


@pytest.mark.parametrize("family", ["star", "ring"])
def test_four_nodes_of_which_one_has_no_listener(kit, tmp_path, family):
    """In the star it is in the middle: every exchange of the network passes through what it fetches."""
    served = kit.serve(kit.document(4, family, 20), tmp_path, hidden={"n0"})
    served.check()
    rows = {row["name"]: row for row in served.summary["per_node"]}
    assert rows["n0"]["exchanges"] > 5
    assert all(edge["seq"] > 0 for edge in rows["n0"]["edges"])


def test_four_nodes_over_tls(kit, tmp_path):
    served = kit.serve(kit.document(4, "complete", 20), tmp_path, hidden={"n3"}, tls=True)
    served.check()
    assert all(row["exchanges"] > 0 for row in served.summary["per_node"])
