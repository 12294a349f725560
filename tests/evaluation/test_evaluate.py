"""Evaluation: the same trainings for all policies, whatever the batch and the devices."""

import gc
import re
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganno_jax.env import make_mesh
from ganno_jax.evaluation import evaluate, programs, tune_schedules
from ganno_jax.evaluation.evaluate import _evaluate, run_training
from ganno_jax.evaluation.tuning import TUNABLE, rungs_of
from ganno_jax.learners.memory_maps import maps_taken
from ganno_jax.policies import SCHEDULES, FixedRates, ScheduleBank

from ..probes import mlp_env, probe_env, quick_jit

KEYS = jax.random.split(jax.random.key(4), 6)
GOOD, BAD = (0.2, 0.2), (1e9, 1e9)


pytestmark = pytest.mark.usefixtures("_quick_compilation")


@cache
def few_reported():
    """An env with fewer report examples than reward examples: curves are of the whole report split too."""
    env = mlp_env()
    dataset = env.training.family.dataset
    test = jax.tree.map(lambda x: x[:20], dataset.test)
    family = env.training.family.replace(dataset=dataset.replace(test=test))
    return env.replace(training=env.training.replace(family=family))


@cache
def curves(num_devices=1):
    """Of two policies, one of which kills every training, in six runs."""
    mesh = make_mesh(jax.devices()[:num_devices])
    policies = FixedRates(jnp.asarray([GOOD, BAD]))
    return evaluate(few_reported(), policies, KEYS, mesh, num_policies=2)


def close(left, right):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), left, right)


def test_curves_have_an_axis_of_policies_and_one_of_runs():
    c = curves()
    assert c.report_loss.shape == (2, 6, 5)  # one more than decisions: before the first step
    assert c.rates.shape == (2, 6, 4, 2)
    assert c.final_loss.shape == c.selection_accuracy.shape == c.diverged.shape == (2, 6)


def test_a_single_key_is_refused():
    with pytest.raises(ValueError, match=r"one typed key per run, `\[run\]`; got the shape \(\)"):
        evaluate(mlp_env(), FixedRates(jnp.asarray(GOOD)), KEYS[0], make_mesh(jax.devices()[:1]))


def test_a_run_is_the_training_of_its_key():
    alone = quick_jit(run_training)(few_reported(), FixedRates(jnp.asarray(GOOD)), KEYS[2])
    close(jax.tree.map(lambda x: x[0, 2], curves()), alone)


def test_programs_of_many_structures_are_let_go_of(monkeypatch):
    monkeypatch.setattr(programs, "KEPT", 3)
    double = jax.jit(lambda x: 2 * x)
    held = []
    for size in range(1, 10):
        double(jnp.ones(size))
        programs.let_go(double)
        held.append(double._cache_size())
    assert held == [1, 2, 3, 0, 1, 2, 3, 0, 1]

    curves()
    assert _evaluate._cache_size() > 0
    monkeypatch.setattr(programs, "KEPT", 0)
    again = curves.__wrapped__()
    assert _evaluate._cache_size() == 0
    jax.tree.map(np.testing.assert_array_equal, curves(), again)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="counts mappings as Linux has them"
)
def test_programs_that_are_let_go_of_give_their_memory_mappings_back(monkeypatch):
    def mappings():
        gc.collect()
        return maps_taken()

    def taken(kept, sizes):
        """By the evaluations alone, not by what makes their envs."""
        monkeypatch.setattr(programs, "KEPT", kept)
        total = 0
        for size in sizes:
            env, policy = probe_env((1.0,) * size), FixedRates(jnp.full(size, 0.2))
            before = mappings()
            evaluate(env, policy, KEYS[:2], make_mesh(jax.devices()[:1]))
            total += mappings() - before
        return total

    taken(0, [1])  # what every evaluation shares
    let_go_of, held = taken(0, range(2, 5)), taken(100, range(5, 8))
    assert held > 100
    assert let_go_of < held / 3, (let_go_of, held)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_seventy_two_structures_of_networks_leave_the_process_as_small_as_nine():
    mesh = make_mesh(jax.devices()[:1])

    def after(sizes):
        for size in sizes:
            rates = FixedRates(jnp.full(size, 0.2))
            evaluate(probe_env((1.0,) * size), rates, KEYS[:2], mesh)
        gc.collect()
        status = Path("/proc/self/status").read_text()
        megabytes = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024
        return maps_taken(), megabytes

    maps, megabytes = after(range(1, 10))
    more_maps, more_megabytes = after(range(10, 73))
    assert more_maps < maps + 63 * 889 / 10  # 889 each when nothing was let go of
    assert more_megabytes < megabytes + 63 * 59 / 3  # and 59 MB


def test_all_policies_start_from_the_same_trainings():
    c = curves()
    np.testing.assert_array_equal(c.report_loss[0, :, 0], c.report_loss[1, :, 0])
    np.testing.assert_array_equal(c.initial_rate[0], c.initial_rate[1])
    assert np.unique(c.report_loss[0, :, 0]).size == 6


def test_four_devices_give_the_curves_of_one_also_where_runs_do_not_divide():
    close(curves(4), curves(1))  # 12 rows; and 6 below


def test_runs_that_do_not_divide_over_devices_are_padded_and_cut():
    mesh = make_mesh()
    assert mesh.size == 4
    c = evaluate(few_reported(), FixedRates(jnp.asarray(GOOD)), KEYS, mesh)
    assert c.final_loss.shape == (6,)
    close(c, jax.tree.map(lambda x: x[0], curves()))


def test_a_diverged_run_is_marked_and_its_curve_ends_in_nan():
    c = curves()
    np.testing.assert_array_equal(c.diverged, [[False] * 6, [True] * 6])
    assert np.isnan(c.report_loss[1, :, 1:]).all()
    assert np.isfinite(c.report_loss[0]).all()
    np.testing.assert_allclose(  # frozen where it began; on the whole split
        c.final_loss[1], c.report_loss[1, :, 0], rtol=1e-5
    )


def test_the_final_loss_is_that_of_the_last_decision_on_the_whole_split():
    c = curves()
    np.testing.assert_allclose(c.final_loss[0], c.report_loss[0, :, -1], rtol=1e-5)
    assert (c.final_loss[0] < c.report_loss[0, :, 0]).mean() > 0.5
    assert not np.allclose(c.final_loss[0], c.selection_loss[0])


def test_an_evaluated_training_uses_all_training_examples():
    env = mlp_env().for_evaluation()
    task = env.training.family.sample(KEYS[0])
    steps = jnp.arange(12)  # of 8 examples: an epoch of all 96
    seen = jax.vmap(lambda step: env.training.family.batch_indices(task, step, 8))(steps)
    np.testing.assert_array_equal(np.sort(seen, axis=None), np.arange(96))
    alone = curves()
    state, _ = quick_jit(few_reported().for_evaluation().reset)(jax.random.fold_in(KEYS[0], 0))
    assert np.isnan(state.outcome.reward_loss)
    np.testing.assert_allclose(alone.train_loss[0, 0, 0], state.outcome.train_loss, rtol=1e-5)


def test_initial_rates_can_be_given_per_run():
    rates = jnp.geomspace(0.01, 1.0, 6)
    env = probe_env((1.0,))
    bank = ScheduleBank(jnp.asarray(list(SCHEDULES).index("constant")))  # at the initial rate
    c = evaluate(env, bank, KEYS, make_mesh(jax.devices()[:1]), initial_rates=rates)
    np.testing.assert_allclose(c.initial_rate, rates, rtol=1e-6)
    weight = (1 - np.asarray(rates)) ** 4  # four steps of gradient descent from 1
    np.testing.assert_allclose(c.final_loss, 0.5 * weight**2 + 1e-3, rtol=1e-4)


def test_tuning_finds_the_best_peak_of_every_schedule():
    env = probe_env((1.0,))
    tuned = tune_schedules(env, KEYS[:2], make_mesh(jax.devices()[:1]), 0.5, peaks=(0.1, 1.0, 1.9))
    best, table = tuned.chosen, tuned.log_loss
    assert (tuned.num_seeds == 2).all()
    assert list(best) == [*SCHEDULES, "plateau"]
    assert table.shape == (len(best), 3)
    assert best["constant"] == 1.0  # one over the curvature
    np.testing.assert_allclose(table[list(best).index("constant"), 1], np.log(1e-3), rtol=1e-4)
    for name, row in zip(best, table, strict=True):
        assert best[name] == (0.1, 1.0, 1.9)[int(np.argmin(row))]
    np.testing.assert_allclose(table[list(best).index(tuned.best)].min(), table.min())


def test_halving_gives_few_settings_all_seeds_and_every_schedule_a_peak():
    env, peaks = probe_env((1.0,)), (0.1, 1.0, 1.9)
    rungs = rungs_of(len(TUNABLE) * len(peaks), 4)
    tuned = tune_schedules(env, KEYS[:4], make_mesh(jax.devices()[:1]), 0.5, peaks, rungs=rungs)
    counts = {int(n): int((tuned.num_seeds == n).sum()) for n in np.unique(tuned.num_seeds)}
    assert set(counts) == {1, 2, 4}
    assert counts[4] == rungs[1].kept == 3
    assert counts[2] + counts[4] == rungs[0].kept == 9
    assert tuned.trainings == tuned.num_seeds.sum()
    assert list(tuned.chosen) == list(TUNABLE)
    assert tuned.num_seeds[TUNABLE.index(tuned.best)].max() == 4


def test_a_diverged_run_is_tuned_at_the_chance_loss():
    env = probe_env((1.0,), num_decisions=8)
    tuned = tune_schedules(env, KEYS[:2], make_mesh(jax.devices()[:1]), 0.5, peaks=(1.0, 30.0))
    np.testing.assert_allclose(tuned.log_loss[TUNABLE.index("constant"), 1], np.log(0.5), rtol=1e-5)
