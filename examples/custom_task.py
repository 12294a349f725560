"""Your own data, network and loss as an inner task: agents trained on it against a constant learning rate."""

import jax
import jax.numpy as jnp
import numpy as np

from ganno_jax import MAPPO, Env, MAPPOConfig, Training, evaluate, make_mesh, train
from ganno_jax.env import actions, base_shapes, rewards
from ganno_jax.inner.directions import named
from ganno_jax.policies import FixedRates
from ganno_jax.tasks import from_arrays, from_functions
from ganno_jax.tasks.distributions import LogUniform


def two_moons(num_examples: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Two interleaved half circles with noise."""
    generator = np.random.default_rng(0)
    labels = np.arange(num_examples) % 2
    angle = np.pi * (generator.uniform(size=num_examples) + labels)
    points = np.stack([np.cos(angle) + labels - 0.5, np.sin(angle) + 0.5 * labels - 0.25], axis=1)
    return points + 0.15 * generator.normal(size=points.shape), labels


def init(key: jax.Array) -> dict:
    """A network 2-16-2: every key of the dict is a layer, so there will be two agents."""
    first, second = jax.random.split(key)
    return {
        "layer0": {"w": jax.random.normal(first, (2, 16)), "b": jnp.zeros(16)},
        "layer1": {"w": jax.random.normal(second, (16, 2)) / 4, "b": jnp.zeros(2)},
    }


def loss(params: dict, batch) -> tuple[jax.Array, dict]:
    """Cross-entropy of each example, and the accuracy."""
    hidden = jnp.tanh(batch.inputs @ params["layer0"]["w"] + params["layer0"]["b"])
    logits = hidden @ params["layer1"]["w"] + params["layer1"]["b"]
    losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), batch.targets[:, None], axis=1)[:, 0]
    return losses, {"accuracy": jnp.mean(jnp.argmax(logits, -1) == batch.targets)}


def main(num_updates: int = 40, num_envs: int = 32) -> dict[str, float]:
    """Mean final log test loss of agents and of a constant rate of 0.1; an update is of `num_envs` trainings."""
    family = from_functions(init, loss, from_arrays(*two_moons()))
    training = Training.create(family, named("momentum", LogUniform(1e-3, 1.0)), batch_size=32)
    env = Env.create(training, rewards.LogLossDecrease(), num_decisions=10, interval=10)
    config = MAPPOConfig(num_updates=num_updates, num_envs=num_envs, rollout_decisions=10)
    space = actions.ScheduleResidual(base_shapes.warmup_cosine_shape, alpha=3.0)
    learner = MAPPO.create((env,), space, config)
    mesh = make_mesh(jax.devices()[:1])
    state, _ = train(learner, learner.init(jax.random.key(0), mesh), num_updates, mesh)
    policies = {"agents": learner.policy(state), "constant": FixedRates(jnp.full(2, 0.1))}
    keys = jax.random.split(jax.random.key(1), 2 * num_envs)
    curves = {name: evaluate(env, policy, keys, mesh) for name, policy in policies.items()}
    return {name: float(np.log(c.final_loss).mean()) for name, c in curves.items()}


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:10} {value:.3f}")
