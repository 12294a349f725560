"""Figures about many problems show the numbers that they were given."""

import numpy as np
import pytest

from ganno_jax.plots.suite import budget_panels, loss_curves, tuning_curves

from .test_plots import texts


def test_loss_curves_are_medians_over_runs_without_the_first_point():
    nan = np.nan
    ours = np.array([[9.0, 2.0, 1.0, 1.0], [9.0, 4.0, 3.0, nan], [9.0, 6.0, nan, nan]])
    rival = np.array([[9.0, 5.0]])
    panels = {
        "short": (np.array([0, 4]), {"rival": rival}),
        "whole": (np.arange(4), {"ours": ours}),
    }
    figure = loss_curves(panels)
    (short,), (whole,) = (axes.lines for axes in figure.axes[:2])
    np.testing.assert_allclose(short.get_xydata(), [[4.0, 5.0]])
    np.testing.assert_allclose(whole.get_ydata(), [4.0, 3.0, nan])
    assert {"ours", "rival", "short", "whole"} <= texts(figure)
    with pytest.raises(ValueError, match="at least one panel"):
        loss_curves({})


def test_budgets_are_means_and_points_on_an_axis_of_steps():
    gaps = {"ours": np.array([[0.0, 0.2], [-0.4, -0.2]]), "rival": np.zeros((2, 2))}
    figure = budget_panels({"series": ([300, 1_000], gaps)})
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[300, 0.1], [1_000, -0.3]])
    assert axes.get_xscale() == "log"
    assert {"ours", "rival", "series"} <= texts(figure)
    with pytest.raises(ValueError, match="at least one panel"):
        budget_panels({})


def test_tuning_curves_are_means_over_problems_on_a_doubling_axis():
    gaps = {
        "ours": np.array([[0.0, -0.2], [0.2, 0.0]]),
        "rival": np.array([[1.0, 0.1], [2.0, 0.3]]),
    }
    figure = tuning_curves([1, 2], gaps)
    (axes,) = figure.axes
    drawn = [line.get_ydata() for line in axes.lines if len(line.get_xdata()) == 2][:2]
    np.testing.assert_allclose(drawn, [[0.1, -0.1], [1.5, 0.2]])
    assert {"ours", "rival", "1", "2"} <= texts(figure)
    with pytest.raises(ValueError, match="at least one method"):
        tuning_curves([1], {})
