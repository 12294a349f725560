"""State-blind agents: what agents learn that see nothing, in the same program for a number of updates of its own."""

import shutil
import time

import numpy as np

from experiments.agents.build import Experiment, learner_key
from experiments.agents.snapshots import load_snapshot, save_snapshot
from experiments.agents.updates import Clock, Updates, init, require_finite
from experiments.configs.values import learned_settings
from experiments.runs import hosts
from experiments.runs.folder import RunFolder
from experiments.runs.progress import Bar, say
from experiments.runs.session import restore
from experiments.runs.signals import StopRequest
from ganno_jax.checkpoint import Checkpoints, versions
from ganno_jax.policies import AgentPolicy


def train_blind(
    experiment: Experiment,
    folder: RunFolder,
    updates: Updates,
    count: int,
    clock: Clock,
    stop: StopRequest,
) -> AgentPolicy:
    """Agents that see no features, after `count` updates; kept, so that it is done once.

    They learn as the run's own agents would in a run of so many updates. A stop leaves a checkpoint.

    Raises:
      UserError: the checkpoint is damaged, or the agents are not finite.
      Interrupted: somebody asked to stop.
    """
    config, learner = experiment.config, experiment.learner
    blind = learner.replace(
        config=learner.config.replace(num_updates=count),
        feature_mask=np.zeros_like(learner.feature_mask),
    )
    state = updates.place(updates.start(blind, init(blind, learner_key(config, blind=True))))
    kept = load_snapshot(folder, "blind", count, blind.policy(state))
    if kept is not None:
        return kept
    checkpoints, settings = Checkpoints(folder.blind_checkpoints(count)), learned_settings(config)
    if checkpoints.latest is not None:
        state = updates.place(restore(checkpoints, settings, state)[0])
        say(f"state-blind agents: going on from update {int(state.update)} of {count}")
    if not updates.compiled:
        updates.compile(blind, state)
        clock.compiling += updates.seconds_compile

    done, saved = int(state.update), time.monotonic()
    waited, stop.waits = stop.waits, True  # a checkpoint is written first
    with Bar("updates of state-blind agents", count, done) as bar:
        while done < count:
            state, rows = updates(blind, state, updates.end(done, count) - done)
            for row in rows:
                done += 1
                require_finite(row, done)
            bar.show(done, f"return {rows[-1]['return']:.3f}")
            stopped = stop.agreed()
            due = hosts.largest(time.monotonic() - saved >= config.run.checkpoint_every)
            if done < count and (due or stopped):
                checkpoints.save(done, state, {"settings": settings, "versions": versions()})
                saved = time.monotonic()
            stop.stop()
    stop.waits = waited
    checkpoints.close()
    save_snapshot(folder, "blind", count, blind.policy(state))
    if hosts.leads():
        shutil.rmtree(folder.blind_checkpoints(count), ignore_errors=True)
    return blind.policy(state)
