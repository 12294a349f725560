"""Task families: what is sampled, and the three ways to make one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

from ganno_jax.tasks import (
    Batch,
    cross_entropy,
    from_arrays,
    from_functions,
    from_linen,
    from_nnx,
    reconstruction_error,
    squared_error,
)
from ganno_jax.tasks.distributions import Choice, Constant, Uniform

from ..probes import blobs, mlp_family, mlp_init, mlp_loss, quick_jit

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 200)


class Net(nn.Module):
    """With everything that a family has to pass on: dropout, batch statistics, a width."""

    @nn.compact
    def __call__(self, x, *, train=False, width=None):
        x = nn.Dense(6, name="dense0")(x)
        x = nn.BatchNorm(use_running_average=not train, name="norm0")(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        x = x if width is None else x * (jnp.arange(6) < width * 6)
        return nn.Dense(3, name="dense1")(x)


def varied(**variation):
    return from_functions(mlp_init, mlp_loss, blobs(), **variation)


def test_numbers_that_do_not_vary_are_left_out():
    task = mlp_family().sample(KEY)
    for name in ("num_examples", "label_noise", "width", "weight_scale", "rescaling"):
        assert getattr(task, name) is None


def test_wrong_labels_need_classes():
    rng = np.random.default_rng(0)
    dataset = from_arrays(rng.normal(size=(40, 2)), rng.integers(0, 2, 40)).replace(num_classes=0)
    with pytest.raises(ValueError, match="`label_noise` draws other classes, but"):
        from_functions(mlp_init, mlp_loss, dataset, label_noise=Constant(0.3))


def test_one_key_draws_one_task_and_members_have_the_same_structure():
    family = varied(data_fraction=Uniform(0.2, 1.0), weight_scale=Uniform(0.5, 2.0))
    tasks = quick_jit(jax.vmap(family.sample))(KEYS[:8])
    assert np.unique(tasks.num_examples).size > 1
    assert np.unique(tasks.weight_scale).size == 8
    again = family.sample(KEYS[3])
    assert again.num_examples == tasks.num_examples[3]
    np.testing.assert_allclose(again.weight_scale, tasks.weight_scale[3], rtol=1e-6)


def test_the_data_set_is_no_part_of_a_task():
    assert not any(x.ndim > 1 for x in jax.tree.leaves(mlp_family().sample(KEY)))


def test_a_data_fraction_uses_that_many_examples_each_once_per_epoch():
    family = varied(data_fraction=Constant(0.25))
    task = family.sample(KEY)
    assert task.num_examples == 24
    steps = jnp.arange(6)
    indices = quick_jit(jax.vmap(lambda s: family.batch_indices(task, s, 8)))(steps)
    first, second = (np.sort(x) for x in np.asarray(indices).reshape(2, 24))
    np.testing.assert_array_equal(first, second)
    assert np.unique(first).size == 24
    assert first.max() > 24  # a random subset, not the first ones


@pytest.mark.parametrize("fraction", [None, Constant(0.5)])
def test_reward_examples_are_in_no_batch_of_their_task_and_others_in_every_task(fraction):
    family = varied(data_fraction=fraction, num_reward=30)
    tasks = [family.sample(key) for key in KEYS[:2]]
    paying = [set(np.asarray(family.reward_indices(task)).tolist()) for task in tasks]
    assert paying[0] != paying[1]
    in_use = 66 if fraction is None else 33
    for task, examples in zip(tasks, paying, strict=True):
        assert len(examples) == 30
        epochs = jax.vmap(lambda step, task=task: family.batch_indices(task, step, 33))(
            jnp.arange(4)
        )
        for epoch in np.asarray(epochs).reshape(-1, in_use):
            assert len(set(epoch.tolist())) == in_use  # each example in use once
            assert not examples & set(epoch.tolist())


def test_reward_examples_have_their_true_labels():
    family = varied(label_noise=Constant(1.0), num_reward=30)
    task = family.sample(KEY)
    indices = family.reward_indices(task)
    batch, train = family.reward_batch(task), family.dataset.train
    np.testing.assert_array_equal(batch.targets, train.targets[indices])
    np.testing.assert_allclose(batch.inputs, family.dataset.normalize(train.inputs[indices]))
    assert (family.train_batch(task, indices).targets != batch.targets).all()


def test_tasks_of_one_batched_program_set_other_examples_aside():
    family = varied(num_reward=30)
    batched = jax.vmap(family.reward_indices)(jax.vmap(family.sample)(KEYS[:3]))
    assert batched.shape == (3, 30)
    for indices, key in zip(batched, KEYS, strict=False):
        np.testing.assert_array_equal(indices, family.reward_indices(family.sample(key)))
    assert len({tuple(row.tolist()) for row in np.sort(batched)}) == 3


def test_label_noise_changes_that_share_of_labels_and_always_the_same_ones():
    family = varied(label_noise=Constant(0.3))
    task, indices = family.sample(KEY), jnp.arange(96)
    noisy, again = (family.train_batch(task, indices).targets for _ in range(2))
    clean = mlp_family().train_batch(task.replace(label_noise=None), indices).targets
    np.testing.assert_array_equal(noisy, again)
    np.testing.assert_allclose(np.mean(noisy != clean), 0.3, atol=0.14)  # three standard deviations


def test_a_weight_scale_multiplies_kernels_only():
    plain, _ = mlp_family().sample(KEY).init(KEY)
    scaled, _ = varied(weight_scale=Constant(3.0)).sample(KEY).init(KEY)
    np.testing.assert_allclose(scaled["dense0"]["kernel"], 3 * plain["dense0"]["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(scaled["dense0"]["bias"], plain["dense0"]["bias"])


def test_rescaling_keeps_the_function_and_multiplies_the_gradient():
    batch = blobs().whole(blobs().validation)
    results = []
    for family in (mlp_family(), varied(rescaling=Constant(10.0))):
        task = family.sample(KEY)
        params, model_state = task.init(KEY)
        results.append(jax.value_and_grad(lambda p, t=task: t.loss(p, {}, batch, KEY)[0])(params))
        assert model_state == {}
    (loss, gradient), (rescaled_loss, rescaled_gradient) = results
    np.testing.assert_allclose(rescaled_loss, loss, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, 10 * b, rtol=1e-4, atol=1e-6),
        rescaled_gradient,
        gradient,
    )


def test_a_linen_module_trains_with_dropout_and_batch_statistics_and_evaluates_without():
    family = from_linen(Net(), blobs())
    task = family.sample(KEY)
    params, model_state = task.init(KEY)
    batch = blobs().whole(blobs().validation)
    loss = quick_jit(
        lambda key, train: task.loss(params, model_state, batch, key, train), static_argnums=1
    )
    trained, (after, metrics) = loss(KEYS[0], True)
    other, _ = loss(KEYS[1], True)
    assert trained != other  # dropout
    assert not np.array_equal(
        after["batch_stats"]["norm0"]["mean"], model_state["batch_stats"]["norm0"]["mean"]
    )
    first, (unchanged, _) = loss(KEYS[0], False)
    assert first == loss(KEYS[1], False)[0]
    jax.tree.map(np.testing.assert_array_equal, unchanged, model_state)
    logits = Net().apply({"params": params, **model_state}, batch.inputs)
    np.testing.assert_allclose(first, cross_entropy(logits, batch)[0].mean(), rtol=1e-6)
    assert 0 <= metrics["accuracy"] <= 1


def test_the_width_reaches_the_module():
    family = from_linen(Net(), blobs(), width=Choice((0.5, 1.0)))
    batch = blobs().whole(blobs().validation)
    task = family.sample(KEY)
    params, model_state = task.init(KEY)
    losses = [
        task.replace(width=jnp.asarray(w)).loss(params, model_state, batch, KEY, False)[0]
        for w in (0.5, 1.0)
    ]
    assert losses[0] != losses[1]


def test_a_width_that_the_module_does_not_take_is_refused():
    with pytest.raises(ValueError, match=r"Dense.__call__ needs a `width` argument"):
        from_linen(nn.Dense(3), blobs(), width=Uniform(0.5, 1.0))


def test_an_nnx_module_trains_with_batch_statistics_that_change():
    def make(rngs):
        return nnx.Sequential(
            nnx.Linear(4, 6, rngs=rngs), nnx.BatchNorm(6, rngs=rngs), nnx.Linear(6, 3, rngs=rngs)
        )

    family = from_nnx(make, blobs())
    task = family.sample(KEY)
    params, model_state = task.init(KEY)
    batch = blobs().whole(blobs().validation)
    loss = quick_jit(
        lambda p, train: jax.value_and_grad(
            lambda p: task.loss(p, model_state, batch, KEY, train), has_aux=True
        )(p),
        static_argnums=1,
    )
    (value, (after, _)), gradient = loss(params, True)
    x = batch.inputs @ params["layers"][0]["kernel"] + params["layers"][0]["bias"]
    x = (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5)
    x = x @ params["layers"][2]["kernel"] + params["layers"][2]["bias"]
    expected = optax.softmax_cross_entropy_with_integer_labels(x, batch.targets).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    assert jax.tree.structure(gradient) == jax.tree.structure(params)
    assert jax.tree.structure(after) == jax.tree.structure(model_state)
    changed = [
        not np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(model_state), strict=True)
    ]
    assert any(changed)


def test_a_plain_loss_may_be_a_number_take_a_key_and_give_metrics():
    def number(params, batch):
        return jnp.mean(batch.inputs) * params

    def with_key(params, batch, key):
        return number(params, batch) + jax.random.normal(key), {"accuracy": jnp.float32(0.5)}

    batch = blobs().whole(blobs().validation)
    for loss in (number, with_key):
        task = from_functions(lambda key: jnp.ones(()), loss, blobs()).sample(KEY)
        value, (_, metrics) = task.loss(jnp.ones(()), {}, batch, KEY)
        assert value.shape == ()
        assert ("accuracy" in metrics) == (loss is with_key)


def test_a_network_without_parameters_is_refused():
    with pytest.raises(ValueError, match="the network has no parameters"):
        from_functions(lambda key: {}, mlp_loss, blobs())
    with pytest.raises(ValueError, match="the network has no parameters"):
        from_linen(nn.Dropout(0.5, deterministic=True), blobs())


def test_losses_of_examples_are_those_of_optax():
    random = np.random.default_rng(0)
    logits = jnp.asarray(random.normal(size=(4, 7, 3)), jnp.float32)
    targets = jnp.asarray(random.integers(0, 3, (4, 7)), jnp.int32)
    losses, metrics = cross_entropy(logits, Batch(logits, targets))
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean(1)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    np.testing.assert_allclose(
        metrics["accuracy"], np.mean(np.argmax(logits, -1) == targets), rtol=1e-6
    )
    batch = Batch(logits[:, 0], logits[:, 1])
    np.testing.assert_allclose(
        squared_error(logits[:, 2], batch)[0],
        np.mean((logits[:, 2] - logits[:, 1]) ** 2, 1),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        reconstruction_error(logits[:, 2], batch)[0],
        np.mean((logits[:, 2] - logits[:, 0]) ** 2, 1),
        rtol=1e-5,
    )


def test_a_data_set_without_classes_is_trained_on_squared_errors():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    dataset = from_arrays(x, x @ np.array([1.0, -2.0, 0.5]), normalize=False)
    family = from_linen(nn.Dense(1, use_bias=False), dataset)
    task, batch = family.sample(KEY), family.dataset.whole(family.dataset.train)
    exact = {"kernel": jnp.array([[1.0], [-2.0], [0.5]])}
    loss, _ = quick_jit(task.loss)(exact, {}, batch, KEY)
    np.testing.assert_allclose(loss, 0, atol=1e-10)
    loss, (_, metrics) = quick_jit(task.loss)(jax.tree.map(jnp.zeros_like, exact), {}, batch, KEY)
    np.testing.assert_allclose(loss, np.mean(np.square(batch.targets)), rtol=1e-5)
    assert metrics == {}


def test_squared_error_never_broadcasts_outputs_over_targets():
    batch = Batch(np.zeros((4, 2)), np.arange(4.0))
    losses, _ = squared_error(jnp.zeros((4, 1)), batch)
    np.testing.assert_allclose(losses, [0, 1, 4, 9])
    with pytest.raises(
        ValueError, match=r"as many outputs as there are targets, \(4,\); got \(4, 3\)"
    ):
        squared_error(jnp.zeros((4, 3)), batch)
