"""One program for each env and one that learns, against the one program of all."""

import jax
import numpy as np
import pytest

from ganno_jax.env import make_mesh
from ganno_jax.env.actions import RateMultipliers
from ganno_jax.learners import MAPPO, MAPPOConfig, train
from ganno_jax.learners.mappo.apart import UpdatesApart
from ganno_jax.learners.memory_maps import SPARE, require_maps

from ..probes import probe_env

CONFIG = MAPPOConfig(
    num_envs=8, rollout_decisions=4, num_epochs=2, num_minibatches=2, group_size=2, target_kl=10.0
)


@pytest.mark.slow  # the commands of broad meta-training run it in the fast tests
@pytest.mark.usefixtures("_quick_compilation")
@pytest.mark.parametrize("num_devices, rollout_decisions", [(2, 4), (1, 2)])
def test_updates_of_programs_apart_are_those_of_one_program(num_devices, rollout_decisions):
    envs = probe_env((1.0, 4.0)), probe_env((0.5, 1.0, 2.0))
    config = CONFIG.replace(rollout_decisions=rollout_decisions)  # 2: an episode takes two rollouts
    agents = MAPPO.create(envs, RateMultipliers(), config, recurrent=True, hidden=8)
    mesh = make_mesh(jax.devices()[:num_devices])
    assert agents.continues == (rollout_decisions == 2)
    updated = UpdatesApart(agents, agents.init(jax.random.key(0), mesh), mesh)
    state, rows = agents.init(jax.random.key(0), mesh), []
    for _ in range(3):
        state, metrics = updated(state)
        rows.append(jax.device_get(metrics))
    together, expected = train(agents, agents.init(jax.random.key(0), mesh), 3, mesh)
    assert set(rows[0]) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose([row[name] for row in rows], values, rtol=2e-4, atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        jax.device_get((state.params, state.normalizer)),
        jax.device_get((together.params, together.normalizer)),
    )


def test_programs_that_would_take_all_memory_maps_are_refused_before_the_system_ends_the_process(
    tmp_path,
):
    maps, limit = tmp_path / "maps", tmp_path / "limit"
    maps.write_text("one map\n" * 100)
    limit.write_text(f"{100 + SPARE}\n")
    require_maps("programs", maps, limit)
    require_maps("programs", tmp_path / "none", limit)  # no Linux
    limit.write_text(f"{99 + SPARE}\n")
    with pytest.raises(MemoryError, match=r"programs take 100 memory maps .* allows 1,099"):
        require_maps("programs", maps, limit)
