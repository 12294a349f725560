"""What share of a MAPPO iteration is the learner: policy, advantages, update?

    python -m benchmarks.learner --json out.json

A whole iteration (`learners.train`, one update) takes turns with its trainings alone: the same
resets and env steps at given rates, on the same devices by the same mapping. What the iteration
takes beyond them is the learner's. Inner steps, env steps (decisions) and updates per second are of
the whole iteration.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from benchmarks.problems import PROBLEMS, Problem
from benchmarks.yardsticks import RATE
from ganno_jax.env import Mapping, advance_trainings, map_trainings
from ganno_jax.env.actions import RateMultipliers
from ganno_jax.learners import MAPPO, MAPPOConfig, train

COLUMNS = {
    "variant": "",
    "network": "",
    "trainings": "d",
    "decisions": "d",
    "interval": "d",
    "seconds_per_update": ".3f",
    "inner_steps_per_second": ".0f",
    "env_steps_per_second": ".0f",
    "updates_per_second": ".2f",
    "learner_share": ".1%",
    "compile_seconds": ".1f",
}


def trainings_alone(learner: MAPPO, mesh: Any, keys: jax.Array) -> tuple[Any, float]:
    """The episodes of one iteration without agents.

    Args:
      learner: of the iteration.
      mesh: devices.
      keys: one per training.
    """
    env, config = learner.envs[0], learner.config

    def run(keys: jax.Array, env: Any) -> Any:
        state, _ = map_trainings(env.reset, learner.mapping, keys)
        rates = jnp.full((keys.shape[0], env.num_layers), RATE)

        def decision(state: Any, _: None) -> Any:
            state, timestep = advance_trainings(env.step, learner.mapping, state, rates)
            return state, (timestep.reward, state.observation.features)

        return jax.lax.scan(decision, state, None, config.rollout_decisions)[1][0].swapaxes(0, 1)

    return common.compiled(common.sharded(run, mesh, 1), keys, env)


def measure(
    problem: Problem, trainings: int, decisions: int, mapping: Mapping, repeats: int
) -> list[common.Row]:
    """One row: the iteration, and the learner's share in it.

    Args:
      problem: what is trained.
      trainings: of an iteration.
      decisions: of each training.
      mapping: over trainings.
      repeats: measured turns, >= 1.
    """
    env = problem.env(num_decisions=decisions)
    config = MAPPOConfig(num_envs=trainings, rollout_decisions=decisions)
    learner = MAPPO.create((env,), RateMultipliers(), config, mapping=mapping)
    mesh = common.mesh_for(trainings // config.num_minibatches)
    state = learner.init(jax.random.key(0))
    lowered = train.lower(learner, state, 1, mesh)
    with common.Stopwatch() as clock:
        executable = lowered.compile()

    def iteration() -> Any:
        nonlocal state  # donated
        state, metrics = executable(learner, state)
        return metrics

    keys = jax.random.split(jax.random.key(1), trainings)
    alone, _ = trainings_alone(learner, mesh, keys)
    timings = common.take_turns({"iteration": iteration, "trainings": alone}, repeats)
    pairs = zip(timings["iteration"].wall, timings["trainings"].wall, strict=True)
    seconds = timings["iteration"].median
    env_steps = trainings * decisions
    return [
        {
            "variant": f"MAPPO iteration, {mapping}",
            "network": problem.name,
            "trainings": trainings,
            "batch": problem.batch,
            "decisions": decisions,
            "interval": problem.interval,
            "seconds_per_update": seconds,
            "ms_per_inner_step": 1e3 * seconds / (env_steps * problem.interval),
            "inner_steps_per_second": env_steps * problem.interval / seconds,
            "env_steps_per_second": env_steps / seconds,
            "updates_per_second": 1 / seconds,
            "learner_share": float(np.median([1 - alone / whole for whole, alone in pairs])),
            "cpu_learner_share": 1
            - timings["trainings"].least_cpu / timings["iteration"].least_cpu,
            "compile_seconds": clock.seconds,
        }
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = common.parser(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--mapping", default="auto", choices=["auto", "vmap", "map"])
    args = parser.parse_args(arguments)
    common.use_devices()
    # As the presets have it; the CNN with a shorter episode of shorter windows, which is harder.
    settings = {
        "digits": (PROBLEMS["digits"].smaller(num_reward=512), 64, 30),
        "cnn": (PROBLEMS["cnn"].smaller(interval=20), 8, 5),
    }
    if args.quick:
        tiny = {"batch": 4, "interval": 2, "num_reward": 4}
        settings = {
            name: (problem.smaller(**tiny, image=problem.image and (8, 8, 1)), 8, 2)
            for name, (problem, *_) in settings.items()
        }
    rows: list[common.Row] = []
    for problem, trainings, decisions in settings.values():
        rows += measure(
            problem, trainings, decisions, args.mapping, 1 if args.quick else args.repeats
        )
    common.finish(rows, COLUMNS, args.json)


if __name__ == "__main__":
    main()
