"""Small learners, and experience that one of them has made, which several modules of tests share."""

from functools import cache, partial

import jax
from jax.sharding import PartitionSpec

from ganno_jax.env import make_mesh
from ganno_jax.env.actions import RateMultipliers
from ganno_jax.learners import MAPPO, MAPPOConfig, train
from ganno_jax.learners.mappo.rollout import collect, pad_layers, start

from ..probes import probe_env, quick_jit

CONFIG = MAPPOConfig(
    num_envs=8, rollout_decisions=4, num_epochs=2, num_minibatches=2, group_size=2, target_kl=10.0
)
DEEP = (0.5, 1.0, 2.0)


def shallow_env():
    return probe_env((1.0, 4.0))


def learner(envs=None, config=CONFIG, recurrent=True, actions=None, **settings):
    envs = envs or (shallow_env(), probe_env(DEEP))
    actions = actions or RateMultipliers()
    return MAPPO.create(envs, actions, config, recurrent=recurrent, hidden=8, **settings)


@partial(quick_jit, static_argnums=(2, 3))
def quick_train(agents, state, num_updates, mesh):
    return train(agents, state, num_updates, mesh)


@cache
def agents_of_two():
    return learner()


@cache
def short_rollouts():
    """Two rollouts per episode."""
    return learner((shallow_env(),), CONFIG.replace(rollout_decisions=2), recurrent=False)


def one_device(function):
    """Run inside a mesh of one device, where the learner's collectives have a name."""
    spec = PartitionSpec()
    return quick_jit(
        jax.shard_map(
            function,
            mesh=make_mesh(jax.devices()[:1]),
            in_specs=spec,
            out_specs=spec,
            check_vma=False,
        )
    )


@cache
def experience():
    """A learner, its state, and one rollout of each of two architectures, padded."""
    agents = agents_of_two()
    state = agents.init(jax.random.key(0))

    @partial(quick_jit, static_argnums=1)
    def roll(state, number):
        env, policy = agents.envs[number], agents.policy(state)
        baseline = agents.baseline(state)
        begin = start(env, policy, baseline, "vmap", jax.random.split(state.key, 4))
        keys = jax.random.split(jax.random.key(1), 4)
        _, rollout = collect(env, policy, baseline, "vmap", begin, 4, keys)
        return pad_layers(rollout, agents.num_layers)

    rollouts = [roll(state, number) for number in range(2)]
    return agents, state, rollouts
