"""State-blind agents: what agents learn that see nothing, in the same program for a number of updates of its own."""

import shutil

import numpy as np

from experiments.agents.build import Experiment, learner_key
from experiments.agents.snapshots import load_snapshot, save_snapshot
from experiments.agents.train import run_training
from experiments.agents.updates import LearningClock, Updates, init
from experiments.configs.values import learned_settings
from experiments.runs import hosts
from experiments.runs.folder import RunFolder
from experiments.runs.progress import say
from experiments.runs.saved import Saved
from experiments.runs.signals import StopRequest
from ganno_jax.policies import AgentPolicy


def train_blind(
    experiment: Experiment,
    folder: RunFolder,
    updates: Updates,
    count: int,
    clock: LearningClock,
    stop: StopRequest,
) -> AgentPolicy:
    """Agents that see no features, after `count` updates; kept, so that it is done once.

    They learn as the run's own agents would in a run of so many updates. A stop leaves a checkpoint.

    Args:
      experiment: of the run.
      folder: of the run.
      updates: of the run, compiled or not.
      count: of updates.
      clock: of the run; counts what is compiled.
      stop: asked between chunks.

    Raises:
      UserError: the checkpoint is damaged, or the agents are not finite.
      Interrupted: somebody asked to stop.
    """
    config, learner = experiment.config, experiment.learner
    blind = learner.replace(
        config=learner.config.replace(num_updates=count),
        feature_mask=np.zeros_like(learner.feature_mask),
    )
    fresh = updates.place(updates.start(blind, init(blind, learner_key(config, blind=True))))
    kept = load_snapshot(folder, "blind", count, blind.policy(fresh))
    if kept is not None:
        return kept
    place = folder.blind_checkpoints(count)
    with Saved(place, config, learned_settings(config), fresh, stop) as saved:
        saved.state = updates.place(saved.state)
        if saved.update:
            say(f"state-blind agents: going on from update {saved.update} of {count}")
        if not updates.compiled:
            updates.compile(blind, saved.state)
            clock.compiling += updates.seconds_compile
        waited, stop.waits = stop.waits, True  # a checkpoint is written first
        trained = run_training(blind, updates, saved, count, "updates of state-blind agents")
        stop.waits = waited
    save_snapshot(folder, "blind", count, trained)
    if hosts.leads():
        shutil.rmtree(place, ignore_errors=True)
    return trained
