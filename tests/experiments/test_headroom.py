"""What there is to react to, on sweeps whose answer is known."""

import numpy as np
import pytest

from experiments.broad import headroom
from experiments.broad.build import make_actions
from experiments.configs.broad_presets import muon
from ganno_jax.env import FEATURES
from ganno_jax.learners.head_start import Sweep

SPACE = make_actions(muon().broad)
BASE = 7


def sweep_of(returns, **shown):
    """A sweep in which agents see these features, one number per training, from the start."""
    features = np.zeros((*returns.shape, 30, 2, len(FEATURES)), np.float32)
    for name, values in shown.items():
        features[..., FEATURES.index(name)] = values[:, None, None, None]
    return Sweep(features, np.ones((*returns.shape, 30)), returns)


def test_pairs_are_the_factors_and_the_base_is_the_one_in_the_middle():
    tried = headroom.pairs(SPACE)
    factors = np.exp(2.0 * np.tanh(tried))
    wanted = [(a, b) for a in headroom.SIZES for b in headroom.FORGETTINGS]
    np.testing.assert_allclose(factors, wanted, rtol=1e-5)
    np.testing.assert_allclose(tried[BASE], 0.0, atol=1e-7)


@pytest.mark.parametrize(
    "shown",
    [
        "epochs",
        pytest.param("loss_level", marks=pytest.mark.slow),
        pytest.param(None, marks=pytest.mark.slow),
    ],
)
def test_each_way_gains_what_it_can_know(shown):
    # Half of the trainings want the first pair, half the last, each 1 above the base; all others lose 1.
    rng = np.random.default_rng(0)
    wants_last = rng.random(128) < 0.5
    returns = np.full((128, 15), -1.0)
    returns[:, BASE] = 0.0
    returns[wants_last, -1] = returns[~wants_last, 0] = 1.0
    shown = {} if shown is None else {shown: wants_last.astype(np.float32)}
    found = {way: x.mean() for way, x in headroom.gains(sweep_of(returns, **shown), BASE).items()}
    assert found["hindsight"] == 1.0
    assert abs(found["one pair"]) < 0.15
    knows_passes, knows = "epochs" in shown, bool(shown)
    assert (found["by passes"] > 0.9) == knows_passes
    assert (found["by features"] > 0.9) == knows


def test_a_kind_that_is_not_there_is_refused(capsys):
    with pytest.raises(SystemExit):
        headroom.main(["--kinds", "no such kind"])
    assert "no kind has such a name" in capsys.readouterr().err
