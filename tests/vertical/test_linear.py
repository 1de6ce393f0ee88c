"""The arithmetic of encrypted regression, without its encryption: the Taylor loss, and what cannot be trained."""

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.vertical.hetero.linear import Regression, plain_step, prepared


def test_the_plain_step_goes_down_the_taylor_loss() -> None:
    rng = np.random.default_rng(1)
    columns = rng.normal(size=(80, 9))
    y = (columns @ rng.normal(size=9) + rng.normal(size=80) > 0).astype(float)
    x, spec = prepared(columns, 3.0), Regression("logistic", 1e-6)
    w = np.full(9, 0.1)
    z, sign = x @ w, 2 * y - 1
    after, loss = plain_step(spec, w, x, y)
    assert loss == pytest.approx(float(np.mean(np.log(2) - sign * z / 2 + z * z / 8)))
    slope = x.T @ (z / 4 - sign / 2) / len(y)
    assert (w - after) / 1e-6 == pytest.approx(slope, rel=1e-4)


def test_what_cannot_be_trained_is_named() -> None:
    with pytest.raises(ConfigError, match="rate"):
        Regression(rate=0.0)
    with pytest.raises(ConfigError, match="0 < clip <= 16"):
        Regression(clip=17.0)
    with pytest.raises(ConfigError, match=r"features within 16 of 0 .*, got nan"):
        prepared(np.full((80, 3), np.nan), 3.0)
