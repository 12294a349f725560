"""The same program for every platform, made on a machine that has none of them but the first."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ganno_jax
import ganno_jax.rules as rules
from ganno_jax.env import Env, make_mesh, map_trainings
from ganno_jax.env.actions import RateMultipliers
from ganno_jax.env.mapping import auto_mapping
from ganno_jax.env.rewards import LogLossDecrease
from ganno_jax.inner import Training
from ganno_jax.inner.directions import named
from ganno_jax.learners import MAPPO, MAPPOConfig, train
from ganno_jax.learners.search import REPS, ParameterSearch, search
from ganno_jax.platforms import made_for, platform
from ganno_jax.policies.step_size import StepSizePolicy
from ganno_jax.tasks import from_arrays, from_linen, ops
from ganno_jax.tasks.distributions import Constant, LogUniform
from ganno_jax.tasks.networks import CNN

from .probes import mlp_family
from .rules.test_rules_canonical import table
from .rules.test_rules_search import quadratic

TARGETS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}  # as `jax.export` names them
TWO = 2  # trainings


def env():
    rng = np.random.default_rng(0)
    data = from_arrays(rng.integers(0, 256, (64, 6, 6, 1), np.uint8), np.arange(64) % 3)
    family = from_linen(CNN(channels=(2,), num_classes=3), data)
    training = Training.create(family, named("momentum", LogUniform(1e-3, 1e-2)), 8)
    return Env.create(training, LogLossDecrease(), num_decisions=2, interval=2, num_reward=8)


def env_step():
    """A decision of two trainings of a convolutional network."""

    def step(seed, rates):
        keys = jax.random.split(jax.random.key(seed), TWO)
        state, _ = map_trainings(env().reset, "auto", keys)
        state, timestep = map_trainings(env().step, auto_mapping(state), state, rates)
        return timestep.reward, state.observation.features

    return step, (jnp.uint32(0), jnp.full((TWO, env().num_layers), 0.01))


def learner_update():
    """One update of MAPPO on a mesh of one device."""
    config = MAPPOConfig(num_envs=4, rollout_decisions=2, num_minibatches=2, group_size=2)
    learner = MAPPO.create((env(),), RateMultipliers(), config, hidden=4)

    def update(seed):
        state = learner.init(jax.random.key(seed))
        return train(learner, state, 1, make_mesh(jax.devices()[:1]))[1]["return"]

    return update, (jnp.uint32(0),)


def reps_search():
    """One iteration of REPS over step-size controllers."""
    family = mlp_family()
    training = Training.create(family, named("momentum", Constant(0.05)), 8).with_example_features()
    dense = Env.create(training, LogLossDecrease(), num_decisions=2, interval=2, num_reward=1)
    strategy = REPS(mean=jnp.zeros(5), deviations=jnp.ones(5))
    problem = ParameterSearch(dense, strategy, StepSizePolicy, num_samples=4, num_tasks=1)

    def iteration(seed):
        start = problem.init(jax.random.key(seed))
        return search(problem, start, 1, make_mesh(jax.devices()[:1]))[1]["kl"]

    return iteration, (jnp.uint32(0),)


def interpreter():
    """Two update rules at one rate."""
    tables = jnp.stack([table(text, 1) for text in ("g", "log(g)^m")])

    def scores(tables, seed):
        keys = jax.random.split(jax.random.key(seed), 1)
        return rules.train_population(quadratic(), tables, jnp.ones(1), keys, num_steps=3)

    return scores, (tables, jnp.uint32(0))


def door():
    """An update of the default controller on a network with a convolution's kernel."""
    optimizer = ganno_jax.optimizer(total_steps=40)

    def update(gradient, params):
        state = optimizer.init(params)
        return optimizer.update(gradient, state, params, value=1.0)[0]

    shapes = {"conv0": (3, 3, 2, 4), "dense0": (16, 3)}
    params = {name: {"kernel": jnp.ones(shape)} for name, shape in shapes.items()}
    return update, (params, params)


def slow_to_run(name, program):
    """Programs of whole trainings take most of their time to compile."""
    return name == "cpu" and program in (env_step, learner_update, reps_search)


@pytest.mark.parametrize(
    ("name", "program"),
    [
        pytest.param(n, p, marks=[pytest.mark.slow] if slow_to_run(n, p) else [])
        for p in (env_step, learner_update, reps_search, interpreter, door)
        for n in TARGETS
    ],
)
def test_every_program_is_made_for_every_platform(name, program):
    function, arguments = program()
    with made_for(name):
        exported = jax.export.export(jax.jit(function), platforms=[TARGETS[name]])(*arguments)
    assert exported.platforms == (TARGETS[name],)
    if name == "cpu":
        found = jax.tree.leaves(exported.call(*arguments))
        for ours, theirs in zip(found, jax.tree.leaves(jax.jit(function)(*arguments)), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_choices_follow_the_platform_that_a_program_is_made_for():
    kernels = jnp.zeros((4, 3, 3, 1, 8))
    assert (platform(), ops.resolve_route("auto"), auto_mapping(kernels)) == (
        "cpu",
        "direct",
        "map",
    )
    convolution = partial(ops.conv, jnp.zeros((1, 6, 6, 1)))

    def operations():
        return str(jax.make_jaxpr(lambda kernel: convolution(kernel))(kernels[0]))

    assert "conv_general_dilated" not in operations()
    with made_for("tpu"):
        assert (platform(), ops.resolve_route("auto")) == ("tpu", "native")
        assert auto_mapping(kernels) == "vmap"
        assert "conv_general_dilated" in operations()
    assert platform() == "cpu"
    with pytest.raises(ValueError, match="no platform 'rocm'"), made_for("rocm"):
        pass


FAULTS = """
import resource
import jax
import jax.numpy as jnp
from ganno_jax.platforms import keep_freed_memory

product = jax.jit(lambda x: (jnp.sin(x) @ jnp.cos(x)).sum())
x = jnp.ones((3_000, 3_000))


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    product(x).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


product(x)
before = min(faults() for _ in range(3))
taken = keep_freed_memory()
faults()
print(taken, before, min(faults() for _ in range(3)))
"""


def test_freed_memory_is_kept_and_not_cleared_anew():
    """Pages that a product of two matrices of 36 MB touches for the first time, before and after."""
    result = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True)
    taken, before, after = result.stdout.split()
    if taken == "False":
        pytest.skip("the C library is not glibc")
    if int(before) < 1_000:
        pytest.skip("the system does not count page faults, or maps nothing anew")
    assert int(after) < 0.5 * int(before)
