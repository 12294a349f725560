"""How many update rules per second does the interpreter try, against compiling each rule on its own?

    python -m benchmarks.rules --json out.json

512 random two-step rules x 7 learning rates train an MLP 64-32-10 on scikit-learn's digits for one
epoch and a half. Beside them, in the same process: rules compiled one by one (`compile`, then XLA),
of which a few are timed and stand for all, and the same network under Optax's SGD, momentum and Adam,
which is what a step costs without an interpreter (these and the interpreter take turns, and minima are
compared; `interpreter_cost` is the dearest of the three). Rules per second and `speedup` count the
interpreter's compilation.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

from benchmarks import common
from ganno_jax import rules
from ganno_jax.rules.language import row_sizes

COLUMNS = {
    "variant": "",
    "network": "",
    "rules": "d",
    "rates": "d",
    "inner_steps": "d",
    "rules_per_second": ".2f",
    "rules_per_second_compiled": ".1f",
    "speedup": ".0f",
    "cost_sgd": ".2f",
    "cost_momentum": ".2f",
    "cost_adam": ".2f",
    "compile_seconds": ".1f",
}
ALONE = "compiled one by one"
RATES = np.logspace(-5, 1, 7)
SIZES = (64, 32, 10)
NUM_TRAIN = 1437
NAMED = ("g", "m", "adam", "g * exp(sign(g) * sign(m))")
HAND_WRITTEN = {
    "g": optax.identity(),
    "m": optax.ema(0.9),
    "adam": optax.scale_by_adam(),
}
HAND_NAMES = {"g": "sgd", "m": "momentum", "adam": "adam"}


def digits_child(batch: int) -> rules.Child:
    """The inner problem: cross-entropy on digits, scored by accuracy on the rest."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    inputs = jnp.asarray(images[order] / 16.0, jnp.float32)
    targets = jnp.asarray(labels[order], jnp.int32)

    def init_fn(key):
        return {
            f"dense{k}": {
                "kernel": jax.random.normal(layer_key, (fan_in, fan_out)) / np.sqrt(fan_in),
                "bias": jnp.zeros(fan_out),
            }
            for k, (layer_key, fan_in, fan_out) in enumerate(
                zip(jax.random.split(key, 2), SIZES[:-1], SIZES[1:], strict=True)
            )
        }

    def logits(params, x):
        first, second = params["dense0"], params["dense1"]
        hidden = jax.nn.relu(x @ first["kernel"] + first["bias"])
        return hidden @ second["kernel"] + second["bias"]

    def loss_fn(params, key):
        chosen = jax.random.randint(key, (batch,), 0, NUM_TRAIN)
        losses = optax.softmax_cross_entropy_with_integer_labels(
            logits(params, inputs[chosen]), targets[chosen]
        )
        return losses.mean()

    def score_fn(params, key):
        del key
        return (logits(params, inputs[NUM_TRAIN:]).argmax(-1) == targets[NUM_TRAIN:]).mean()

    return rules.Child(init_fn, loss_fn, score_fn)


def train_alone(child: rules.Child, direction, rate, key, *, num_steps: int):
    """What `rules.population.train` does, with a direction that is fixed while tracing.

    Args:
      child: the inner problem.
      direction: an Optax transformation, without a rate.
      rate: of every step.
      key: of the training.
      num_steps: of the training.
    """
    init_key, data_key, _ = jax.random.split(key, 3)
    params = child.init_fn(init_key)

    def step(carry, count):
        params, state, alive = carry
        grads = jax.grad(child.loss_fn)(params, jax.random.fold_in(data_key, count))
        updates, state = direction.update(grads, state, params)
        new = jax.tree.map(lambda p, d: p - rate * d, params, updates)
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(new)]).all()
        alive = alive & finite
        new = jax.tree.map(lambda n, p: jnp.where(alive, n, p), new, params)
        return (new, state, alive), None

    start = (params, direction.init(params), jnp.bool_(True))
    (params, _, alive), _ = jax.lax.scan(step, start, jnp.arange(num_steps))
    return jnp.where(alive, child.score_fn(params, data_key), -jnp.inf)


def measure(
    num_rules: int,
    num_alone: int,
    num_steps: int,
    batch: int,
    mappings: Sequence[str],
    repeats: int,
) -> list[common.Row]:
    """A row for rules that are compiled one by one, and one per mapping of the interpreter.

    Args:
      num_rules: that the interpreter tries.
      num_alone: of them, compiled one by one.
      num_steps: of a training.
      batch: examples of a step.
      mappings: of the interpreter.
      repeats: measured turns, >= 1.
    """
    child, rates = digits_child(batch), jnp.asarray(RATES, jnp.float32)
    keys = jax.random.split(jax.random.key(0), 1)
    rng = np.random.default_rng(0)
    tables = rng.integers(0, row_sizes(2), (num_rules, 2, 5)).astype(np.int32)
    named = np.stack([rules.parse(text, num_steps=2) for text in NAMED])
    child_steps = num_steps * len(RATES)
    shared = {"network": "-".join(map(str, SIZES)), "rules": num_rules, "rates": len(RATES)}
    shared |= {"inner_steps": num_steps, "batch": batch}

    def over_rates(direction):
        one = partial(train_alone, child, direction, num_steps=num_steps)
        return jax.vmap(jax.vmap(one, (None, 0)), (0, None))

    alone = []
    for table in tables[:: max(1, num_rules // num_alone)][:num_alone]:
        direction = rules.compile(table, total_steps=num_steps)
        call, seconds = common.compiled(over_rates(direction), rates, keys)
        alone.append(seconds + common.take_turns({"alone": call}, 1)["alone"].median)
    alone_s = float(np.median(alone))
    rows = [shared | {"variant": ALONE, "rules_per_second": 1 / alone_s}]

    by_hand = {
        text: common.compiled(over_rates(direction), rates, keys)[0]
        for text, direction in HAND_WRITTEN.items()
    }
    for mapping in mappings:
        train = partial(rules.train_population, child, num_steps=num_steps, mapping=mapping)
        call, compile_s = common.compiled(train, tables, rates, keys)
        run_s = common.take_turns({"all": call}, repeats)["all"].median
        single = jax.jit(train).lower(named[:1], rates, keys).compile()
        interpreted = {
            f"rule {text}": partial(single, table[None], rates, keys)
            for text, table in zip(NAMED, named, strict=True)
        }
        timings = common.take_turns(by_hand | interpreted, 10 * repeats)
        costs = {
            f"cost_{HAND_NAMES[text]}": timings[f"rule {text}"].least / timings[text].least
            for text in HAND_WRITTEN
        }
        rows.append(
            shared
            | costs
            | {
                "variant": f"interpreter, {mapping}",
                "rules_per_second": num_rules / (run_s + compile_s),
                "rules_per_second_compiled": num_rules / run_s,
                "speedup": alone_s * num_rules / (run_s + compile_s),
                "interpreter_cost": max(costs.values()),
                "us_per_child_step": 1e6 * run_s / (num_rules * child_steps),
                "us_per_named_step": {
                    name: 1e6 * timing.least / child_steps for name, timing in timings.items()
                },
                "compile_seconds": compile_s,
                "share_alive": float(np.isfinite(call()).mean()),
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = common.parser(__doc__)
    parser.add_argument("--rules", type=int, default=512)
    parser.add_argument("--alone", type=int, default=6, help="rules compiled one by one")
    parser.add_argument("--steps", type=int, default=33, help="inner steps")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--mappings", nargs="+", default=["map", "vmap"], choices=["map", "vmap"])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args(arguments)
    if args.quick:
        args.rules, args.alone, args.steps, args.batch, args.repeats = 4, 1, 2, 4, 1
        args.mappings = args.mappings[:1]
    common.use_devices(1)
    rows = measure(args.rules, args.alone, args.steps, args.batch, args.mappings, args.repeats)
    common.finish(rows, COLUMNS, args.json)


if __name__ == "__main__":
    main()
