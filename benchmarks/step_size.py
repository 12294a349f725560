"""What does a step-size controller cost per inner step, at every-step control and every ten steps?

    python -m benchmarks.step_size --json out.json

One training, the steps of one compiled loop. The yardstick is the same training at a fixed rate in a single window;
`overhead` is the median over the turns of the extra time over it in the same turn. "loop" is windows and the controller
alone, as in a user's training loop; "env" (on request: `--env`) adds the environment's observation, divergence check
and one validation example per decision. "fixed" rows have no controller: what shorter windows cost by themselves.
Daniel et al. state 36% for their implementation.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from ganno_jax.env import Env
from ganno_jax.env.rewards import LogLossDecrease
from ganno_jax.inner import Training
from ganno_jax.inner.directions import named
from ganno_jax.policies.step_size import REFERENCE, empty_smoothing, reference, smooth
from ganno_jax.tasks import from_arrays, from_linen, networks
from ganno_jax.tasks.distributions import Constant

COLUMNS = {
    "variant": "",
    "network": "",
    "batch": "d",
    "us_per_step": ".1f",
    "overhead": ".1%",
    "overhead_of_medians": ".1%",
    "overhead_of_least": ".1%",
    "compile_seconds": ".1f",
}
YARDSTICK = "fixed, one window"
NETWORKS = {"mlp 64-32-10": (8, "mlp"), "cnn 9-24-249": (28, "random_cnn")}
THETA = np.asarray(REFERENCE["momentum_1"], np.float32)
RATE = 0.05


def make_training(name: str, batch: int, examples: int) -> Training:
    """The training of a network on noise of the right shape.

    Args:
      name: in `NETWORKS`.
      batch: examples of a step.
      examples: of the data set.
    """
    size, network = NETWORKS[name]
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (examples, size, size, 1)).astype(np.uint8)
    dataset = from_arrays(images, np.arange(examples) % 10)
    family = from_linen(networks.build(network), dataset)
    return Training.create(family, named("momentum", Constant(RATE)), batch)


def loop(training: Training, state: Any, num_steps: int, interval: int) -> Any:
    """Windows of `interval` steps; a controller between them if the training takes features.

    Args:
      training: the inner problem.
      state: to start from.
      num_steps: of the training, a multiple of `interval`.
      interval: steps of a window.
    """
    layers = training.num_layers

    def decide(carry, _):
        state, memory, rates = carry
        state, summary = training.window(state, jnp.broadcast_to(rates, (interval, layers)), 1)
        if training.example_features:
            memory, values = smooth(memory, summary.example_features, 0.9)
            values = jnp.concatenate([values, jnp.ones((layers, 1))], axis=-1)
            rates = jnp.exp(jnp.clip(values @ THETA, -18.0, 2.0))
        return (state, memory, rates), summary.loss

    carry = (state, empty_smoothing(layers), jnp.full(layers, RATE))
    (state, _, rates), losses = jax.lax.scan(decide, carry, length=num_steps // interval)
    return state.params, rates, losses


def in_env(training: Training, key: jax.Array, num_steps: int, interval: int) -> Any:
    """The same through the environment.

    Args:
      training: the inner problem.
      key: of the training.
      num_steps: of the training, a multiple of `interval`.
      interval: steps of a window.
    """
    env = Env.create(
        training,
        LogLossDecrease(on="train"),
        num_decisions=num_steps // interval,
        interval=interval,
        num_measured=1,
        num_reward=1,
    )
    policy = reference("momentum_1")
    state, _ = env.reset(key)

    def decide(carry, _):
        state, memory = carry
        rates = state.observation.rates
        if training.example_features:
            memory, rates = policy.act(memory, state.observation, key)
        state, _ = env.step(state, rates)
        return (state, memory), state.outcome.train_loss

    carry = (state, policy.init(state.observation))
    (state, _), losses = jax.lax.scan(decide, carry, length=env.num_decisions)
    return state.inner.params, losses


def measure(name: str, args: argparse.Namespace) -> list[common.Row]:
    """One row per variant of a network."""
    plain = make_training(name, args.batch, args.examples)
    full, part = (plain.with_example_features(limit=limit) for limit in (None, args.limit))
    kinds = {"fixed": plain, "controlled": full, f"controlled, {args.limit} examples": part}
    key = jax.random.key(0)
    state = jax.jit(plain.init)(key)
    variants = {YARDSTICK: (loop, plain, state, args.steps)}
    for interval in (1, 10):
        for kind, training in kinds.items():
            variants[f"loop, every {interval}, {kind}"] = (loop, training, state, interval)
            if "examples" not in kind and args.env:
                variants[f"env, every {interval}, {kind}"] = (in_env, training, key, interval)
    made = {}
    for variant, (function, training, start, interval) in variants.items():
        program = partial(function, num_steps=args.steps, interval=interval)
        made[variant] = common.compiled(program, training, start)
    timings = common.take_turns(
        {variant: call for variant, (call, _) in made.items()}, args.repeats
    )
    base = timings[YARDSTICK]
    return [
        {
            "variant": variant,
            "network": name,
            "batch": args.batch,
            "us_per_step": 1e6 * timing.median / args.steps,
            "overhead": float(
                np.median([a / b for a, b in zip(timing.wall, base.wall, strict=True)]) - 1
            ),
            "overhead_of_medians": timing.median / base.median - 1,
            "overhead_of_least": timing.least / base.least - 1,
            "compile_seconds": made[variant][1],
        }
        for variant, timing in timings.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = common.parser(__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50, help="per call; a multiple of 10")
    parser.add_argument("--limit", type=int, default=8, help="examples in the cheaper variant")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--networks", nargs="+", default=tuple(NETWORKS), choices=tuple(NETWORKS))
    parser.add_argument("--env", action=argparse.BooleanOptionalAction, default=False)
    args = parser.parse_args(arguments)
    args.examples = 2048
    if args.quick:
        args.batch, args.steps, args.repeats, args.examples = 16, 10, 1, 64
    if args.steps % 10 or args.steps < 10 or args.repeats < 1:
        parser.error("`--steps` must be a multiple of 10 and `--repeats` at least 1")
    common.use_devices(1)
    rows = [row for name in args.networks for row in measure(name, args)]
    common.finish(rows, COLUMNS, args.json)


if __name__ == "__main__":
    main()
