"""A network behind lossy links: a fifth of all requests and a fifth of all replies never arrive."""

import pytest

LOSS = 0.2
POINT = 0.01


@pytest.mark.slow
def test_it_learns_as_well_as_without_loss(kit, tmp_path):
    """The rate ends low and two fifths of the digits judge: one run differs from the next by a tenth of a point."""
    settled = {"data": {"test_fraction": 0.4}, "train": {"schedule": {"kind": "cosine", "floor": 0.05}}}
    config = kit.document(4, "ring", 400, **settled)
    (tmp_path / "lossless").mkdir()
    served = kit.serve(config, tmp_path / "lossless")
    served.check()
    lossy = kit.serve(config, tmp_path, LOSS)
    lossy.check()
    print(f"accuracy {lossy.summary['accuracy_mean']:.4f} with loss, {served.summary['accuracy_mean']:.4f} without")
    assert sum(lossy.lost.values()) > 50
    assert lossy.summary["accuracy_mean"] >= served.summary["accuracy_mean"] - POINT
