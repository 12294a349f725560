"""What an env refuses, each in one line."""

import jax

from ganno_jax.env.rewards import Reward
from ganno_jax.tasks.family import TaskFamily


def check_numbers(hidden_loss: float, **counts: int) -> None:
    """Refuse counts that are none, trainings that are too long, and a share that is none.

    Args:
      hidden_loss: share of the trainings, to be in [0, 1].
      **counts: by the names of the arguments of `Env.create`, each to be a whole number of at least 1.

    Raises:
      ValueError: as said, or trainings would be in double precision.
    """
    if jax.config.jax_enable_x64:
        raise ValueError(
            "trainings are made in float32: switch `jax_enable_x64` off; a controller in `control` takes either."
        )
    for name, count in counts.items():
        if not hasattr(count, "__index__"):
            raise ValueError(f"`{name}` must be a whole number; got {count!r}.")
        if count < 1:
            raise ValueError(f"`{name}` must be at least 1; got {count}.")
    num_decisions, interval = counts["num_decisions"], counts["interval"]
    if num_decisions * interval >= 2**31:
        raise ValueError(
            f"a training must have fewer than 2**31 steps; {num_decisions} decisions of {interval} are more."
        )
    if not 0 <= hidden_loss <= 1:
        raise ValueError(f"`hidden_loss` must be a share, between 0 and 1; got {hidden_loss}.")


def check_reward(reward: Reward, family: TaskFamily, num_decisions: int, episode: int) -> None:
    """Refuse a reward that these trainings cannot pay.

    Args:
      reward: of one transition.
      family: of the tasks.
      num_decisions: decisions in the whole training.
      episode: decisions in an episode.

    Raises:
      ValueError: it is no reward, the episode is longer than the training, or the reward needs what is not there.
    """
    if isinstance(reward, type) or not callable(reward):
        raise ValueError(
            f"`reward` must be an instance of a reward, such as `LogLossDecrease()`; got {reward!r}."
        )
    if episode > num_decisions:
        raise ValueError(
            f"an episode of {episode} decisions is longer than the training's {num_decisions}."
        )
    name = type(reward).__name__
    if getattr(reward, "at_end", False) and episode < num_decisions:
        raise ValueError(
            f"`{name}` is paid at the end of a training, which an episode of {episode} of {num_decisions} "
            "decisions does not reach; `LogLossDecrease` is paid for every decision."
        )
    if getattr(reward, "needs_accuracy", False) and not family.has_accuracy:
        raise ValueError(
            f"`{name}` needs an accuracy, which {family.name} does not have; `TerminalLogLoss` needs none."
        )
