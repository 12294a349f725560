"""A softmax regression small enough to compile in no time: eight features, three classes."""

import functools

import jax
import jax.numpy as jnp
import optax

# Unoptimized machine code: here compiling is nearly all of a test's time.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def problem(key):
    """Parameters and a full-batch loss of 48 linearly separable examples."""
    input_key, teacher_key, init_key = jax.random.split(key, 3)
    inputs = jax.random.normal(input_key, (48, 8))
    targets = jnp.argmax(inputs @ jax.random.normal(teacher_key, (8, 3)), axis=-1)

    def loss(params):
        logits = inputs @ params["w"] + params["b"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    params = {"w": 0.35 * jax.random.normal(init_key, (8, 3)), "b": jnp.zeros(3)}
    return params, loss


def train(make, num_steps, key, dtypes=None):
    """Losses `[step]` and the parameters and state of one training, as one scan."""
    params, loss = problem(key)
    if dtypes is not None:
        params = {name: p.astype(dtypes[name]) for name, p in params.items()}
    optimizer = make()

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params, value=value)
        return (optax.apply_updates(params, updates), state), value

    (params, state), losses = jax.lax.scan(
        step, (params, optimizer.init(params)), None, length=num_steps
    )
    return losses, params, state
