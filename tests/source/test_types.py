"""Shapes in annotations hold in a small run of everything, checked by jaxtyping and beartype.

In a process of its own, since the functions are wrapped while the package is imported. Only traced: shapes and types
are all that is looked at.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = '''
import sys, types, typing

import jaxtyping
from beartype import beartype

number_checked = 0


def is_array(hint):
    """Arrays only: pytrees, protocols and keys (batched ones bear the same name) are let through."""
    if hint == jaxtyping.PRNGKeyArray:
        return False
    if isinstance(hint, type):
        return issubclass(hint, jaxtyping.AbstractArray)
    parts = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else ()
    known = (type(None), float, int)
    return any(map(is_array, parts)) and all(is_array(part) or part in known for part in parts)


def check(function):
    global number_checked
    if isinstance(function, type) or function.__qualname__.endswith("__init__"):
        return function  # pytrees are also made of axes, shapes and markers
    hints = {n: h for n, h in getattr(function, "__annotations__", {}).items() if is_array(h)}
    if not hints:
        return function
    number_checked += 1
    function.__annotations__ = hints
    return beartype(function)


checker = types.ModuleType("array_checker")
checker.check = check
sys.modules["array_checker"] = checker
with jaxtyping.install_import_hook("ganno_jax", "array_checker.check"):
    import ganno_jax

import jax
import jax.numpy as jnp
from ganno_jax import MAPPO, MAPPOConfig, make_mesh, train
from ganno_jax.env.actions import DirectRate, RateMultipliers, ScheduleResidual
from ganno_jax.env.base_shapes import SHAPES
from ganno_jax.env.rewards import DifferenceReward
from ganno_jax.evaluation.evaluate import run_training
from ganno_jax.policies import *

import probes

key = jax.random.key(0)
config = MAPPOConfig(
    num_envs=8, rollout_decisions=4, num_epochs=1, num_minibatches=2, group_size=2
)
mesh = make_mesh(jax.devices()[:1])
envs = (probes.mlp_env(reward=DifferenceReward()), probes.mlp_env((4, 5, 5, 3)))
agents = []
for recurrent, actions in ((True, DirectRate()), (False, RateMultipliers())):
    learner = MAPPO.create(envs, actions, config, hidden=4, recurrent=recurrent)
    state = learner.init(key)
    agents.append(learner.policy(state))
    jax.eval_shape(lambda state: train(learner, state, 1, mesh), state)

policies = [
    *[SchedulePolicy(f, peak=0.3) for f in SCHEDULES.values()],
    ScheduleBank(jnp.asarray(2), jnp.asarray(0.3)),
    ReduceOnPlateau(),
    FixedRates(jnp.ones(2)),
    OpenLoop(jnp.ones((4, 2))),
    *[RandomPolicy(ScheduleResidual(shape)) for shape in SHAPES.values()],
    *agents,
]
state, _ = jax.eval_shape(envs[0].reset, key)
for policy in policies:
    jax.eval_shape(lambda o: policy.act(policy.init(o), o, key), state.observation)
jax.eval_shape(run_training, envs[0], agents[0], key)
try:
    jax.eval_shape(envs[0].step, state, jnp.ones((5, 5, 5)))
    raise SystemExit("a wrong shape was not seen")
except jaxtyping.TypeCheckError:
    print(number_checked)
'''


@pytest.mark.slow
def test_annotated_shapes_hold_in_training_and_evaluation():
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert int(result.stdout) > 200  # functions with arrays in their signatures
