"""Settings of MAPPO: which are refused, and what some of them do."""

from functools import partial

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from ganno_jax.env import make_mesh
from ganno_jax.env.actions import DirectRate
from ganno_jax.learners import MAPPO
from ganno_jax.learners.mappo.config import check_divisible
from ganno_jax.learners.mappo.learner import gather

from .test_mappo import CONFIG, learner, quick_train, shallow_env


@pytest.mark.parametrize(
    "num_envs, num_devices, minibatches, group, higher",
    [(10, 4, 2, 1, 16), (7, 1, 2, 1, 8), (8, 1, 2, 3, 12), (1, 4, 4, 1, 16)],
)
def test_trainings_that_do_not_divide_are_an_error_with_the_next_number_that_does(
    num_envs, num_devices, minibatches, group, higher
):
    config = CONFIG.replace(num_envs=num_envs, num_minibatches=minibatches, group_size=group)
    with pytest.raises(
        ValueError, match=rf"{num_envs} trainings .*next number that does is {higher}\."
    ):
        check_divisible(config, make_mesh(jax.devices()[:num_devices]))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"envs": ()}, "at least one env"),
        ({"critic": "global"}, "no critic 'global'; there are: central, local"),
        ({"hidden_features": ("loss",)}, "no feature 'loss'; there are: progress"),
        ({"config": CONFIG.replace(rollout_decisions=3)}, "not a whole number of rollouts of 3"),
        ({"config": CONFIG.replace(num_envs=0)}, "`num_envs` must be at least 1; got 0"),
        ({"config": CONFIG.replace(learning_rate=float("nan"))}, "`learning_rate` and `clip` must"),
        (
            {"config": CONFIG.replace(group_size=1, group_scale=True)},
            "with `group_scale` `group_size` must be at least 2; got 1",
        ),
        ({"config": CONFIG.replace(discount=1.5)}, r"`discount` must be in \[0, 1\]; got 1.5"),
        (
            {"config": CONFIG.replace(noise_shared=-0.1)},
            r"`noise_shared` must be in \[0, 1\]; got -",
        ),
        ({"initial_log_std": float("nan")}, r"`initial_log_std` must be in \[-20, 5\]; got nan"),
        (
            {"config": CONFIG.replace(critic_baseline=False, rollout_decisions=2)},
            "a whole episode of 4 decisions; got 2",
        ),
        ({"hidden": 0}, "`hidden` must be at least 1; got 0"),
        ({"hidden_features": "all"}, "`hidden_features` is a tuple of names; got 'all'"),
    ],
)
def test_settings_that_cannot_work_are_refused(change, message):
    settings = {"envs": (shallow_env(),), "actions": DirectRate(), "config": CONFIG} | change
    with pytest.raises(ValueError, match=message):
        MAPPO.create(**settings)


def test_hidden_features_do_not_reach_the_agents():
    agents = learner(hidden_features=("all",))
    np.testing.assert_array_equal(agents.feature_mask, np.zeros_like(agents.feature_mask))


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_all_layers_of_a_training_have_the_shared_noise(shared):
    config = CONFIG.replace(noise_shared=shared, noise_correlation=0.5)
    agents = learner((shallow_env(),), config, recurrent=False, actions=DirectRate(1e-3, 0.1))
    state = agents.init(jax.random.key(0))
    gathered = partial(gather, number=0, num_devices=1)
    whole = PartitionSpec()
    mapped = jax.shard_map(
        gathered,
        mesh=make_mesh(jax.devices()[:1]),
        in_specs=whole,
        out_specs=whole,
        check_vma=False,
    )
    trajectory = jax.jit(mapped)(agents, state)[1].rollout.trajectory
    # The density of a normal action tells how far it is from its mean, and all agents have one deviation.
    gaps = np.ptp(trajectory.log_prob, axis=-1)
    assert np.all(gaps < 1e-4) if shared else np.mean(gaps > 0.01) > 0.9
    assert np.std(trajectory.log_prob[..., 0]) > 0.1


def test_noise_falls_by_its_share_per_update_and_nothing_else_changes():
    found = []
    for fall in (0.0, 3.0):
        config = CONFIG.replace(noise_fall=fall, num_updates=10)
        agents = learner((shallow_env(),), config, recurrent=False, actions=DirectRate(1e-3, 0.1))
        mesh = make_mesh(jax.devices()[:1])
        state, _ = quick_train(agents, agents.init(jax.random.key(0)), 1, mesh)
        found.append(jax.device_get(state.params))
    gaps = jax.tree_util.tree_leaves_with_path(jax.tree.map(lambda a, b: a - b, *found))
    fallen = {path[-1].key: float(np.max(np.abs(gap))) for path, gap in gaps if np.any(gap)}
    assert fallen == {"log_std": pytest.approx(0.3, rel=1e-5)}
