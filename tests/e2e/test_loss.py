"""A network behind lossy links: a fifth of all requests and a fifth of all replies never arrive."""

from statistics import fmean

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
    reached = []
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        lossy = kit.serve(config, tmp_path / name, LOSS)
        lossy.check()
        assert sum(lossy.lost.values()) > 50
        reached.append(lossy.summary["accuracy_mean"])
    print(f"accuracy {reached[0]:.4f} and {reached[1]:.4f} with loss, {served.summary['accuracy_mean']:.4f} without")
    assert fmean(reached) >= served.summary["accuracy_mean"] - POINT
