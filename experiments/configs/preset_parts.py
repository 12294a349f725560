"""Parts that presets have in common."""

from experiments.configs.agents import NOISY_FEATURES, AgentConfig, LearnerConfig
from experiments.configs.config import DataConfig, EvaluateConfig

# Real-valued actions with persistent noise: what followed a decision also tells of the noise before it, so the
# return must be that of the whole training (paid at its end) and the baseline the mean of the group, which shares
# the training; with returns to go or a critic's values the same noise misleads. Features that show it are hidden.
AGENTS = AgentConfig(
    "relative",
    alpha=2.0,
    shape="one_cycle",
    initial_log_std=-1.6,
    hidden_features=NOISY_FEATURES,
)


def learner(num_updates: int, num_envs: int, group_size: int = 8) -> LearnerConfig:
    """PPO that is paid at the end and compares within a group.

    Args:
      num_updates: of the learner.
      num_envs: trainings per update.
      group_size: trainings that share seed and batches, so that their mean is a baseline.
    """
    return LearnerConfig(
        num_updates=num_updates,
        num_envs=num_envs,
        group_size=group_size,
        trace_decay=1.0,
        noise_correlation=0.9,
        critic_baseline=False,
    )


def evaluation(small: bool) -> EvaluateConfig:
    """Few runs for minutes on two cores, else as many as an accelerator takes."""
    return EvaluateConfig(
        num_runs=32 if small else 256,
        tuning_runs=4 if small else 32,
        curve_every=10 if small else 20,
        curve_runs=16 if small else 64,
        block=16 if small else 256,
        chunk=200 if small else 1000,
    )


def images(name: str, small: bool, size: int, max_examples: int = 6000) -> DataConfig:
    """A data set whole, or at most so many examples of so many pixels a side.

    Args:
      name: of the set.
      small: whether it is made smaller.
      size: pixels.
      max_examples: of each split.
    """
    return (
        DataConfig(name, image_size=size, max_examples=max_examples) if small else DataConfig(name)
    )
