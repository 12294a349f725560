"""Memory that agents and their trainings need at least."""

from typing import Any

import jax

from experiments.runs.memory import Need, size_of
from ganno_jax.env import FEATURES, Env
from ganno_jax.inner import Training
from ganno_jax.policies import SCHEDULES


def training(of: Training) -> int:
    """Bytes of the state of one training."""
    return size_of(jax.eval_shape(lambda: of.init(jax.random.key(0))))


def agents(learner: Any) -> int:
    """Bytes of fresh agents, with what their optimizer keeps."""
    return size_of(jax.eval_shape(lambda: learner.init(jax.random.key(0))))


def learning(learner: Any, num_envs_option: str) -> tuple[Need, ...]:
    """Of a learner's updates: fresh agents, the trainings of one env at a time, experience of all of them."""
    count, envs = learner.config.num_envs, learner.envs
    decisions = learner.config.rollout_decisions
    seen = sum(env.num_layers for env in envs) * len(FEATURES) * 4
    side_by_side = f"{count:,} trainings side by side ({num_envs_option})"
    return (
        Need("the agents (their hidden width)", agents(learner)),
        Need(side_by_side, count * max(training(env.training) for env in envs)),
        Need(f"the experience of {side_by_side}", count * decisions * seen),
    )


def one_training(env: Env, option: str) -> Need:
    """Of a single training, where no more than one need be there at a time."""
    return Need(f"the state of a training and its optimizer ({option})", training(env.training))


def curves(env: Env, runs: int, num_policies: int, option: str) -> Need:
    """Of what is kept of evaluated trainings.

    Args:
      env: whose trainings they are.
      runs: of each policy.
      num_policies: that are evaluated.
      option: the setting that asks for the runs, for the message.
    """
    what = f"the curves of {num_policies} policies in {runs:,} runs ({option})"
    return Need(what, _curve(env) * num_policies * runs, on_host=True)


def evaluation(learner: Any, settings: Any) -> tuple[Need, ...]:
    """Of everything that agents of one env are evaluated with, by the settings of the group `evaluate`.

    How many trainings of a block run side by side is for the mapping to say, but each has agents and curves.
    """
    (env,), compared = learner.envs, len(SCHEDULES) + 3
    policy = jax.eval_shape(lambda: learner.policy(learner.init(jax.random.key(0))))
    each = size_of(policy.params) + _curve(env)
    return (
        Need(
            f"agents and curves of {settings.block:,} trainings (evaluate.block)",
            each * settings.block,
        ),
        one_training(env, "network"),
        curves(env, settings.num_runs, compared, "evaluate.num_runs"),
        curves(env, settings.tuning_runs, len(SCHEDULES), "evaluate.tuning_runs"),
        curves(env, settings.curve_runs, 1, "evaluate.curve_runs"),
    )


def _curve(env: Env) -> float:
    """Bytes of `evaluation.Curves` of one run: losses and accuracies at every decision, hyperparameters by layer."""
    return 4.0 * (3 * (env.num_decisions + 1) + 2 * env.num_decisions * env.num_layers)
