"""Small problems that the tests share; the probes' best behaviour is known."""

from functools import cache, partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from ganno_jax.env import Env
from ganno_jax.env.rewards import LogLossDecrease, TerminalLogLoss
from ganno_jax.inner import Training
from ganno_jax.inner.directions import named
from ganno_jax.tasks import Dataset, TaskFamily, from_arrays, from_functions
from ganno_jax.tasks.distributions import Constant, Distribution, LogUniform

SIZES = (4, 8, 3)

# Unoptimized machine code: compiling is nearly all of a small test's time.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
init = quick_jit(Training.init)
window = quick_jit(Training.window, static_argnums=3)
reset = quick_jit(Env.reset)
reset_batch = quick_jit(jax.vmap(Env.reset, (None, 0)))
step = quick_jit(Env.step)
step_batch = quick_jit(jax.vmap(Env.step, (None, 0, 0)))


@cache
def blobs() -> Dataset:
    """Three Gaussian blobs in four dimensions: 96 training, 32 validation, 32 test examples."""
    generator = np.random.default_rng(0)
    targets = np.arange(160) % 3
    centers = np.asarray([[1, 0, 0, 1], [0, 1, 1, 0], [-1, -1, 0, 0]], np.float32)
    inputs = centers[targets] + 0.7 * generator.normal(size=(160, 4))
    return from_arrays(inputs.astype(np.float32), targets, name="blobs")


def mlp_init(key, sizes=SIZES):
    """Parameters of a tanh network, `dense0`, `dense1`, ..."""
    keys = jax.random.split(key, len(sizes) - 1)
    return {
        f"dense{i}": {
            "kernel": jax.random.normal(keys[i], (fan_in, fan_out)) / fan_in**0.5,
            "bias": jnp.zeros(fan_out),
        }
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes))
    }


def mlp_loss(params, batch):
    """Cross-entropy of each example, and the accuracy."""
    x = batch.inputs
    for i in range(len(params)):
        x = x @ params[f"dense{i}"]["kernel"] + params[f"dense{i}"]["bias"]
        x = jnp.tanh(x) if i + 1 < len(params) else x
    losses = -jnp.take_along_axis(jax.nn.log_softmax(x), batch.targets[:, None], 1)[:, 0]
    return losses, {"accuracy": jnp.mean(jnp.argmax(x, -1) == batch.targets)}


@cache
def mlp_family(sizes=SIZES) -> TaskFamily:
    """Classification of the blobs by a small network."""
    return from_functions(lambda key: mlp_init(key, sizes), mlp_loss, blobs())


@cache
def mlp_training(sizes=SIZES, optimizer="momentum", rate=0.1, **numbers) -> Training:
    """The network's training in batches of 8, at an initial rate of 0.1 unless told otherwise."""
    rate = Constant(rate) if isinstance(rate, float) else rate
    return Training.create(mlp_family(sizes), named(optimizer, rate, **numbers), 8)


@cache
def mlp_env(sizes=SIZES, reward=None, rate=0.1, **settings) -> Env:
    """Four decisions of three inner steps."""
    settings = {"num_decisions": 4, "interval": 3} | settings
    training = mlp_training(sizes, rate=rate)
    return Env.create(training, reward or LogLossDecrease(), **settings)


@cache
def quadratic_family(
    curvatures: tuple[float | tuple[float, ...], ...], floor: float = 0.0
) -> TaskFamily:
    """Weights that all start at 1, one or several per layer: the loss is the sum of h w^2 / 2, plus `floor`."""
    rows = [np.atleast_1d(np.asarray(h, np.float32)) for h in curvatures]

    def init(key):
        del key
        return {f"layer{i}": jnp.ones(row.shape) for i, row in enumerate(rows)}

    def loss(params, batch):
        del batch
        parts = [jnp.sum(h * jnp.square(w)) for h, w in zip(rows, params.values(), strict=True)]
        return 0.5 * sum(parts) + floor

    return from_functions(init, loss, blobs())


@cache
def probe_env(
    curvatures: tuple[float | tuple[float, ...], ...],
    rate: Distribution | None = None,
    num_decisions: int = 4,
    penalty: float = 3.0,
    at_end: bool = False,
) -> Env:
    """Plain gradient descent on a quadratic, one step per decision, loss never below 1e-3; paid `at_end` or always.

    The best rate of a layer of curvature h is 1/h; above 2/h its training diverges; a layer of curvature 0 does
    not matter.
    """
    rate = rate or LogUniform(0.003, 0.03)
    training = Training.create(quadratic_family(curvatures, 1e-3), named("sgd", rate), 1)
    reward = TerminalLogLoss(penalty) if at_end else LogLossDecrease(penalty=penalty)
    return Env.create(training, reward, num_decisions=num_decisions, interval=1, num_reward=1)
