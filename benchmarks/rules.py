"""How many update rules per second does the interpreter try, against compiling each rule on its own?

    python -m benchmarks.rules --json out.json

512 random two-step rules x 7 learning rates train an MLP 64-32-10 on scikit-learn's digits for one
epoch and a half. Beside them, in the same process: rules compiled one by one (`compile`, then XLA),
of which a few are timed and stand for all, and the same network under Optax's SGD, momentum and Adam,
which is what a step costs without an interpreter (these and the interpreter take turns, and minima are
compared). Compilation of the interpreter is reported apart and counted in its rate.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

from ganno_jax import rules
from ganno_jax.rules.language import row_sizes

RATES = np.logspace(-5, 1, 7)
SIZES = (64, 32, 10)
NUM_TRAIN = 1437
NAMED = ("g", "m", "adam", "g * exp(sign(g) * sign(m))")
HAND_WRITTEN = {
    "g": optax.identity(),
    "m": optax.ema(0.9),
    "adam": optax.scale_by_adam(),
}


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

    def score_fn(params):
        return (logits(params, inputs[NUM_TRAIN:]).argmax(-1) == targets[NUM_TRAIN:]).mean()

    return rules.Child(init_fn, loss_fn, score_fn)


def train_alone(child: rules.Child, direction, rate, key, *, num_steps: int):
    """What `rules.population.train` does, with a direction that is fixed while tracing."""
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
    return jnp.where(alive, child.score_fn(params), -jnp.inf)


def compiled(function: Callable, *arguments: Any) -> tuple[Any, float]:
    """The executable, and the seconds that tracing and compiling it took."""
    start = time.perf_counter()
    executable = jax.jit(function).lower(*arguments).compile()
    return executable, time.perf_counter() - start


def seconds(*calls: Callable[[], Any], repeats: int) -> list[float]:
    """The least time of each call; they take turns, so that all meet the same machine."""
    times = np.full((repeats + 1, len(calls)), np.inf)
    for turn in range(repeats + 1):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[turn, index] = time.perf_counter() - start
    return times[1:].min(axis=0).tolist()


def measure(
    num_rules: int,
    num_alone: int,
    num_steps: int,
    batch: int,
    mappings: Sequence[str],
    repeats: int,
) -> dict[str, Any]:
    """All figures of one setting."""
    child, rates = digits_child(batch), jnp.asarray(RATES, jnp.float32)
    keys = jax.random.split(jax.random.key(0), 1)
    rng = np.random.default_rng(0)
    tables = rng.integers(0, row_sizes(2), (num_rules, 2, 5)).astype(np.int32)
    named = np.stack([rules.parse(text, num_steps=2) for text in NAMED])
    children = len(RATES)

    def over_rates(direction):
        one = partial(train_alone, child, direction, num_steps=num_steps)
        return jax.vmap(jax.vmap(one, (None, 0)), (0, None))

    alone = []
    for table in tables[:: max(1, num_rules // num_alone)][:num_alone]:
        direction = rules.compile(table, total_steps=num_steps)
        executable, compile_s = compiled(over_rates(direction), rates, keys)
        alone.append(compile_s + seconds(partial(executable, rates, keys), repeats=1)[0])
    alone_s = float(np.median(alone))

    by_hand = {
        text: partial(compiled(over_rates(direction), rates, keys)[0], rates, keys)
        for text, direction in HAND_WRITTEN.items()
    }

    rows = []
    for mapping in mappings:
        train = partial(rules.train_population, child, num_steps=num_steps, mapping=mapping)
        executable, compile_s = compiled(train, tables, rates, keys)
        (run_s,) = seconds(partial(executable, tables, rates, keys), repeats=1)
        fraction_alive = float(np.isfinite(executable(tables, rates, keys)).mean())
        single, _ = compiled(train, named[:1], rates, keys)
        interpreted = [partial(single, table[None], rates, keys) for table in named]
        times = seconds(*by_hand.values(), *interpreted, repeats=10 * repeats)
        hand = dict(zip(by_hand, times[: len(by_hand)], strict=True))
        costs = dict(zip(NAMED, times[len(by_hand) :], strict=True))
        rows.append(
            {
                "mapping": mapping,
                "compile_s": compile_s,
                "run_s": run_s,
                "rules_per_s": num_rules / run_s,
                "rules_per_s_with_compile": num_rules / (run_s + compile_s),
                "speedup": alone_s * num_rules / (run_s + compile_s),
                "us_per_child_step": run_s / (num_rules * children * num_steps) * 1e6,
                "cost_over_hand_written": {text: costs[text] / hand[text] for text in hand},
                "us_per_child_step_named": {
                    text: cost / (children * num_steps) * 1e6 for text, cost in costs.items()
                },
                "us_per_child_step_hand_written": {
                    text: cost / (children * num_steps) * 1e6 for text, cost in hand.items()
                },
                "fraction_alive": fraction_alive,
            }
        )
    return {
        "setting": {
            "rules": num_rules,
            "rates": children,
            "inner_steps": num_steps,
            "batch": batch,
            "network": "-".join(map(str, SIZES)),
            "timed_alone": num_alone,
        },
        "alone_s_per_rule": alone_s,
        "alone_rules_per_s": 1.0 / alone_s,
        "interpreter": rows,
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and, with `--json`, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--rules", type=int, default=512)
    parser.add_argument("--alone", type=int, default=6, help="rules compiled one by one")
    parser.add_argument("--steps", type=int, default=33, help="inner steps")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--mappings", nargs="+", default=["map", "vmap"], choices=["map", "vmap"])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    result = {
        "benchmark": "rules",
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "machine": platform.machine(),
        "jax": jax.__version__,
    } | measure(
        options.rules,
        options.alone,
        options.steps,
        options.batch,
        options.mappings,
        options.repeats,
    )
    print(f"compiled one by one: {result['alone_rules_per_s']:.2f} rules/s")
    for row in result["interpreter"]:
        costs = ", ".join(f"{t}: {c:.2f}x" for t, c in row["cost_over_hand_written"].items())
        print(
            f"interpreter, {row['mapping']}: {row['rules_per_s_with_compile']:.1f} rules/s with "
            f"compilation of {row['compile_s']:.1f} s ({row['speedup']:.0f}x), "
            f"{row['rules_per_s']:.1f} without; step against hand-written: {costs}"
        )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main()
