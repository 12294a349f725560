"""Figures are checked by what they draw: data of lines, names, limits, files."""

import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ganno_jax import plots
from ganno_jax.plots.style import COLUMN, PAGE, looks

STEPS = np.arange(0, 60, 10)


def texts(figure: Figure) -> set[str]:
    """All words in a figure, legends and labels included."""
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text)}


def summary_row(policy, value, peak=None):
    return {
        "policy": policy,
        "peak": peak,
        "log_loss": value,
        "log_loss_lower": value - 0.1,
        "log_loss_upper": value + 0.1,
    }


def two_policies(num_runs=40):
    rates = np.geomspace(1e-4, 1, num_runs)
    return {"agents": (rates, np.log(rates)), "cosine": (rates, np.zeros(num_runs))}


def every_figure():
    rng = np.random.default_rng(0)
    rates, losses = rng.uniform(0.01, 0.1, (6, 2)), np.exp(rng.normal(size=6))
    yield plots.learning_curve(STEPS, losses, losses - 0.1, losses + 0.1, 1.0, seconds=STEPS * 1.0)
    yield plots.layer_rates(STEPS, rates, rates, losses, losses, ["conv", "dense"])
    yield plots.spike_zoom(STEPS, rates, losses, ["conv", "dense"])
    yield plots.sensitivity(two_policies(), chance=0.8)
    yield plots.accuracy_over_steps(STEPS, {"digits": {"agents": rng.uniform(size=(5, 6))}})
    yield plots.schedules(STEPS, {"cosine": np.ones(6), "linear": np.ones(6)})
    yield plots.forest([summary_row("agents", -2.0), summary_row("cosine", -1.9, 0.3)], ["agents"])
    yield plots.performance_profiles({"agents": rng.normal(size=8), "cosine": rng.normal(size=8)})


def test_every_figure_fits_a_column_or_a_page_and_is_saved_readably(tmp_path):
    before = dict(matplotlib.rcParams)
    for index, figure in enumerate(every_figure()):
        assert figure.get_figwidth() in (COLUMN, PAGE)
        path = plots.save(figure, tmp_path / "figures" / f"{index}.png")
        with Image.open(path) as image:
            assert image.width == round(200 * figure.get_figwidth())
            assert len(image.convert("L").getcolors()) > 10  # something is drawn
    assert dict(matplotlib.rcParams) == before


def test_the_look_does_not_depend_on_the_settings_of_the_caller(tmp_path):
    figure = plots.schedules(STEPS, {"cosine": np.ones(6)})
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30}):
        again = plots.schedules(STEPS, {"cosine": np.ones(6)})
    first, second = plots.save(figure, tmp_path / "a.png"), plots.save(again, tmp_path / "b.png")
    assert first.read_bytes() == second.read_bytes()


def test_pyplot_is_never_imported():
    code = "import sys, ganno_jax.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_starts_without_matplotlib():
    code = "import sys, experiments.agents.commands; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_small_or_foreign_files_are_refused(tmp_path):
    figure = plots.schedules(STEPS, {"cosine": np.ones(6)})
    with pytest.raises(ValueError, match="at least 150"):
        plots.save(figure, tmp_path / "a.png", dpi=72)
    with pytest.raises(ValueError, match=r"saved as \.png; got a\.jpg"):
        plots.save(figure, tmp_path / "a.jpg")


def test_a_loss_that_never_rises_has_no_spike_to_zoom_into():
    with pytest.raises(ValueError, match="a loss that rises somewhere"):
        plots.spike_zoom(STEPS, np.ones((6, 1)), np.geomspace(1, 0.1, 6), ["dense"])


def test_the_learning_curve_draws_the_bar_to_beat():
    figure = plots.learning_curve(STEPS, -np.ones(6), bar=-0.5, bar_label="one-cycle")
    lines = figure.axes[0].get_lines()
    np.testing.assert_array_equal(lines[0].get_ydata(), -1)
    np.testing.assert_array_equal(lines[1].get_ydata(), -0.5)
    assert "one-cycle" in texts(figure)


def test_clock_ticks_stand_at_the_update_done_by_then():
    # The first half of the updates takes 20 s, the second 80 s.
    figure = plots.learning_curve(
        np.array([0, 5, 10]), np.ones(3), seconds=np.array([0.0, 20.0, 100.0])
    )
    clock = figure.axes[1]
    labels = [label.get_text() for label in clock.get_xticklabels()]
    places = dict(zip(labels, clock.get_xticks(), strict=True))
    np.testing.assert_allclose([places["20"], places["60"]], [5, 7.5])


def test_many_layers_are_named_at_the_ends_and_few_in_a_legend():
    losses = np.ones(6)
    for count, expected in ((3, {"layer 0", "layer 1", "layer 2"}), (12, {"layer 0", "layer 11"})):
        rates = np.geomspace(0.1, 1, 6 * count).reshape(6, count)
        names = [f"layer {layer}" for layer in range(count)]
        figure = plots.layer_rates(STEPS, rates, rates, losses, losses, names)
        assert {text for text in texts(figure) if text.startswith("layer")} == expected
    with pytest.raises(ValueError, match="12 layers need as many names; got 2"):
        plots.layer_rates(STEPS, rates, rates, losses, losses, ["a", "b"])


def test_the_history_of_a_training_is_drawn_from_its_metrics():
    history = [
        {
            "step": float(i),
            "rate/a": 0.1 / (i + 1),
            "rate/b": 0.2,
            "forgetting/a": 1.0,
            "forgetting/b": 2.0,
        }
        for i in range(3)
    ]
    above, below = plots.rates(history).axes
    np.testing.assert_allclose(above.get_lines()[0].get_ydata()[:3], [0.1, 0.05, 0.1 / 3])
    np.testing.assert_allclose(below.get_lines()[1].get_ydata(), 2.0)
    assert {"a", "b", "learning rate", "forgetting", "update"} <= texts(plots.rates(history))
    with pytest.raises(ValueError, match=r"at least two dicts of `ganno_jax\.metrics`; got 1"):
        plots.rates(history[:1])


def logged(step, **rates):
    return {"step": float(step)} | {f"rate/{layer}": rate for layer, rate in rates.items()}


def test_a_network_that_changed_is_drawn():
    history = [logged(0, a=0.1, b=0.2), logged(10, a=0.1, b=0.3), logged(20, a=0.2, c=0.4)]
    history.append(logged(30, a=0.1, c=0.5))
    figure = plots.rates(history)
    lines = figure.axes[0].get_lines()
    np.testing.assert_allclose(lines[1].get_ydata()[:4], [0.2, 0.3, np.nan, np.nan])
    np.testing.assert_allclose(lines[2].get_ydata(), [np.nan, np.nan, 0.4, 0.5, 0.5])
    assert {"a", "b", "c"} <= texts(figure)
    many = [logged(0, **{f"old{i}": 0.1 for i in range(12)}), logged(10, old0=0.1, new=0.3)]
    assert {"old0", "new"} <= texts(plots.rates(many))
    gone = [*many[:1], logged(10, new=0.3)]
    assert {"old0", "new"} <= texts(plots.rates(gone))


@pytest.mark.parametrize(
    "history, got",
    [
        (logged(0, a=0.1), "one dict"),
        (3, "one int"),
        ("rates", "one str"),
        ([], "0"),
        ([logged(0, a=0.1), None], "a NoneType in it"),
        ([{"step": 0.0, "loss": 1.0}] * 2, "step, loss"),
        ([{"rate/a": 0.1}] * 2, "rate/a"),
        ([{"train/step": 0.0, "train/rate/a": 0.1}] * 2, "train/step, train/rate/a"),
        ([{}] * 2, "nothing"),
    ],
)
def test_what_is_no_history_is_one_line(history, got):
    with pytest.raises(ValueError, match=r"at least two dicts of `ganno_jax\.metrics`") as caught:
        plots.rates(history)
    assert str(caught.value).endswith(f"; got {got}.")
    assert len(str(caught.value).splitlines()) == 1


def test_the_last_rate_is_held_as_long_as_the_others():
    rates = np.array([[0.1], [0.2], [0.3], [0.4], [0.5], [0.6]])
    line = plots.spike_zoom(STEPS, rates, np.exp(STEPS / 10.0), ["dense"]).axes[0].get_lines()[0]
    assert (line.get_xdata()[-1], line.get_ydata()[-1]) == (60, 0.6)


def test_sensitivity_draws_the_median_of_each_bin():
    figure = plots.sensitivity(two_policies(), num_bins=4)
    agents = figure.axes[0].get_lines()[0]
    assert len(agents.get_xdata()) == 4
    # The metric is the log of the rate, so median metric and median rate belong together.
    np.testing.assert_allclose(agents.get_ydata(), np.log(agents.get_xdata()), rtol=0.02)
    assert {"agents", "cosine"} <= texts(figure)
    with pytest.raises(ValueError, match="> 0 on a log axis; got 0"):
        plots.sensitivity({"agents": (np.array([0.0, 1.0]), np.zeros(2))})


def test_a_policy_with_one_rate_is_named_at_its_point():
    policies = two_policies() | {"tuned": (np.full(40, 0.1), np.full(40, -3.0))}
    figure = plots.sensitivity(policies)
    label = next(t for t in figure.axes[0].texts if t.get_text() == "tuned")
    assert label.xy == (pytest.approx(0.1), -3.0)


def test_with_many_policies_only_the_highlighted_stand_out():
    names = [f"p{index}" for index in range(12)]
    look = looks(names, ["p3", "p7"])
    assert [name for name in names if look[name].named] == ["p3", "p7"]
    assert sum(style.named for style in looks(names, None).values()) == 1
    assert all(style.named for style in looks(names[:7], None).values())
    with pytest.raises(ValueError, match="Nothing named 'ours' to highlight; there are: p0"):
        looks(names, ["ours"])
    with pytest.raises(ValueError, match="At most 7 can stand out"):
        looks(names, names)


def test_highlighted_lines_differ_in_dashes_as_well_as_colours():
    styles = looks([f"p{index}" for index in range(7)], None).values()
    for field in ("color", "dash", "marker"):
        assert len({getattr(style, field) for style in styles}) == 7


def test_labels_at_line_ends_do_not_overlap():
    rates = np.geomspace(1e-3, 1, 20)
    policies = {f"policy {index}": (rates, np.full(20, 0.001 * index)) for index in range(6)}
    policies["far"] = (rates, np.full(20, 5.0))
    figure = plots.sensitivity(policies)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    boxes.sort(key=lambda box: box.y0)
    assert len(boxes) == 7
    assert all(low.y1 <= high.y0 + 1 for low, high in itertools.pairwise(boxes))


def test_the_forest_is_sorted_and_marks_ours():
    rows = [summary_row("cosine", -1.9, 0.3), summary_row("agents", -2.1)]
    axes = plots.forest(rows, ["agents"]).axes[0]
    labels = axes.get_yticklabels()
    assert [label.get_text() for label in labels] == ["agents", "cosine (0.3)"]
    assert [label.get_fontweight() for label in labels] == ["bold", "normal"]
    with pytest.raises(ValueError, match="Nothing named 'ours'"):
        plots.forest(rows, ["ours"])


def test_a_policy_far_off_does_not_squeeze_the_forest():
    rows = [summary_row(f"p{index}", -2 + 0.05 * index) for index in range(8)]
    figure = plots.forest([*rows, summary_row("lost", 5.0)])
    assert figure.axes[0].get_xlim()[1] < 0
    assert any("5.000" in text for text in texts(figure))


def test_profiles_reach_one_at_the_worst_highlighted_run():
    values = {"agents": np.array([1.0, 2.0, 3.0]), "lost": np.array([1.0, 9.0, 9.0])}
    figure = plots.performance_profiles(values, ["agents"])
    agents = next(line for line in figure.axes[0].get_lines() if line.get_label() == "agents")
    assert (agents.get_xdata()[-1], agents.get_ydata()[-1]) == (3, 1)
    assert "1 other" in texts(figure)


def test_accuracy_has_a_panel_per_setting():
    panel = {"agents": np.full((5, 6), 0.9), "cosine": np.full((5, 6), 0.8)}
    figure = plots.accuracy_over_steps(STEPS, {"decay 0": panel, "decay 1": panel})
    assert [axes.get_title() for axes in figure.axes] == ["decay 0", "decay 1"]
    np.testing.assert_allclose(figure.axes[1].get_lines()[0].get_ydata(), 0.9)


def test_a_legend_above_takes_as_many_columns_as_fit_into_the_figure():
    names = ["Agents (MAPPO)", "Replay of their mean settings", "State-blind agents (40 updates)"]
    panel = {name: np.full((5, 6), 0.1 * k) for k, name in enumerate(names)}
    short = {name: np.full((5, 6), 0.1 * k) for k, name in enumerate("abc")}
    made = {
        1: plots.accuracy_over_steps(STEPS, {"test": panel}),
        3: plots.accuracy_over_steps(STEPS, {"test": short}),
    }
    made[2] = plots.performance_profiles({"a name of some length": STEPS, "another one": STEPS})
    for columns, figure in made.items():
        figure.draw_without_rendering()
        (legend,) = figure.legends
        assert legend._ncols == columns
        box = legend.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width
