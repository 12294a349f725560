"""Trained agents in fresh runs of the problems that they learned on: what training gave, and what of it is feedback."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, PRNGKeyArray

from experiments.problems.problem import Problem
from experiments.runs.progress import Bar
from ganno_jax.env import Env
from ganno_jax.env.whole_update import WholeUpdate
from ganno_jax.evaluation import Curves
from ganno_jax.evaluation import evaluate as run_policies
from ganno_jax.evaluation.bootstrap import paired_difference
from ganno_jax.evaluation.statistics import log_losses
from ganno_jax.evaluation.tables import Row
from ganno_jax.policies import OpenLoop
from ganno_jax.policies.agents import Agents, teams_of, with_actions

# Relative sizes tried for untrained agents, in units of their base's.
SIZES = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


def compare(
    families: Sequence[Problem],
    envs: Sequence[Env],
    trained: Agents,
    untrained: Agents,
    keys: PRNGKeyArray,
    mesh: Mesh,
) -> list[Row]:
    """A row per problem, its losses means of final log selection losses.

    Columns `to_...` are paired differences of the trained agents to the untrained ones, to these at the best of
    `SIZES` (chosen in the same runs, which favours it), and to the replay of the trained agents' mean schedule.

    Args:
      families: the problems.
      envs: of the problems.
      trained: the agents.
      untrained: the same agents before their training.
      keys: one per run; run r is the same training for all.
      mesh: devices.
    """
    rows: list[Row] = []
    with Bar("problems", len(families)) as bar:
        for number, (problem, env) in enumerate(zip(families, envs, strict=True)):
            row = _compare(env, trained, untrained, keys, mesh)
            rows.append({"problem": problem.name} | row)
            bar.show(number + 1, f"{problem.name}: {row['to_untrained']:+.3f}")
            jax.clear_caches()  # a program per problem, and only so many can be kept (see `suites.cells`)
    return rows


def _compare(env: Env, trained: Agents, untrained: Agents, keys: PRNGKeyArray, mesh: Mesh) -> Row:
    sizes = [_relative_size(untrained) * factor for factor in SIZES]
    sized = [
        with_actions(untrained, lambda space, size=size: space.with_size(size)) for size in sizes
    ]
    policies = jax.device_get([trained, untrained, *sized])
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *policies)
    curves = run_policies(env, stacked, keys, mesh, num_policies=len(policies))
    losses = log_losses(curves.selection_loss, curves.train_loss[:, :, 0], curves.diverged)
    ours, before, of_sizes = losses[0], losses[1], losses[2:]
    best = int(np.argmin(of_sizes.mean(axis=1)))
    replayed = _replay(env, jax.tree.map(lambda x: x[0], curves), keys, mesh)
    row: Row = {
        "trained": float(ours.mean()),
        "untrained": float(before.mean()),
        "best_size": sizes[best],
        "best_size_loss": float(of_sizes[best].mean()),
        "mean_schedule": float(replayed.mean()),
    }
    others = {"untrained": before, "best_size": of_sizes[best], "mean_schedule": replayed}
    for name, other in others.items():
        row |= paired_difference(ours, other).columns(f"to_{name}")
    return row


def _replay(env: Env, curves: Curves, keys: PRNGKeyArray, mesh: Mesh) -> Float[np.ndarray, " run"]:
    """Final log losses where the mean rates of these runs are replayed in them."""
    table = curves.mean_hyperparameters()
    again = run_policies(env, OpenLoop(table.rates, table.forgetting), keys, mesh)
    return log_losses(again.selection_loss, again.train_loss[:, 0], again.diverged)


def _relative_size(agents: Agents) -> float:
    """Of the base of agents, the same in every team."""
    actions = teams_of(agents)[0].actions
    size = actions.size if isinstance(actions, WholeUpdate) else actions
    return float(np.ravel(size.relative_size)[0])
