"""Learning-rate-free optimizers of `optax.contrib`, in their authors' recipes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from ganno_jax.baselines.learned_common import check_inputs

TotalSteps = int | Int[Array, ""]


def last_params(state: Any, params: PyTree) -> PyTree:
    """Evaluate the parameters that were trained."""
    del state
    return params


def schedule_free_average(state: Any, params: PyTree) -> PyTree:
    """Schedule-Free trains at one point and is evaluated at another, the running average."""
    average = optax.contrib.schedule_free_eval_params(state, params)
    return jax.tree.map(lambda a, p: a.astype(jnp.result_type(p)), average, params)


@dataclasses.dataclass(frozen=True)
class LearningRateFree:
    """One method: how to make it, whether it needs the loss, and which parameters to evaluate.

    Attributes:
      make: from the planned number of updates (may be traced) to a transformation whose
        `update(grads, state, params, value=loss)` always takes the loss.
      needs_value: True if the loss is used; then leaving it out is a `ValueError`.
      evaluation_params: from optimizer state and trained parameters to those to evaluate.
      recipe: what was chosen beyond the defaults of Optax, and why.
      source: the paper.
    """

    make: Callable[[TotalSteps], optax.GradientTransformationExtraArgs]
    needs_value: bool
    evaluation_params: Callable[[Any, PyTree], PyTree]
    recipe: str
    source: str


def cosine(total_steps: TotalSteps) -> optax.Schedule:
    """From 1 to 0 along half a cosine; unlike Optax's, `total_steps` may be traced."""
    total = jnp.asarray(total_steps, jnp.float32)
    return lambda count: 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(count / total, 1.0)))


def warmup(peak: float, total_steps: TotalSteps, fraction: float = 0.05) -> optax.Schedule:
    """Linear over `fraction` of the run, then `peak`; counts from 1, so is never 0.

    Args:
      peak: the rate after the warm-up.
      total_steps: planned updates, >= 1; may be traced.
      fraction: of the run that the warm-up takes, in [0, 1]; at least one update.

    Returns:
      From an update's number, from 1 on, to its rate.
    """
    length = jnp.maximum(1.0, fraction * jnp.asarray(total_steps, jnp.float32))
    return lambda count: peak * jnp.minimum(1.0, count / length)


def uniform(
    transformation: optax.GradientTransformation, name: str, needs_value: bool
) -> optax.GradientTransformationExtraArgs:
    """Accept `value` always, insist on it where it is needed, and compute in float32.

    Optax's methods keep their estimates in the lowest precision among the parameters, promote some
    leaves, and one (Mechanic) refuses mixed precision. Here states are float32 and updates have the
    dtypes of the parameters, so every state is a valid carry of `lax.scan`.

    Args:
      transformation: a whole optimizer, its learning rate included.
      name: of the method, for messages.
      needs_value: whether it uses the loss; then leaving that out is a `ValueError`.
    """
    transformation = optax.with_extra_args_support(transformation)

    def init(params):
        # Copied, so that the state shares no buffer with the parameters and both can be donated.
        return jax.tree.map(jnp.array, transformation.init(_float32(params)))

    def update(updates, state, params=None, *, value=None, **extra_args):
        check_inputs(name, params, value if needs_value else 0.0)
        if needs_value:
            extra_args["value"] = value
        steps, new_state = transformation.update(
            _float32(updates), state, _float32(params), **extra_args
        )
        return _cast_like(steps, params), _cast_like(new_state, state)

    return optax.GradientTransformationExtraArgs(init, update)


def _float32(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def _cast_like(tree: PyTree, like: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf, old: jnp.asarray(leaf, jnp.result_type(old)), tree, like)


def _entry(
    name: str,
    make: Callable[[TotalSteps], optax.GradientTransformation],
    recipe: str,
    source: str,
    needs_value: bool = False,
    evaluation_params: Callable[[Any, PyTree], PyTree] = last_params,
) -> tuple[str, LearningRateFree]:
    return name, LearningRateFree(
        make=lambda total_steps: uniform(make(total_steps), name, needs_value),
        needs_value=needs_value,
        evaluation_params=evaluation_params,
        recipe=recipe,
        source=source,
    )


def _schedule_free_sgd(total_steps: TotalSteps) -> optax.GradientTransformation:
    rate = warmup(1.0, total_steps)
    return optax.contrib.schedule_free(optax.sgd(_shifted(rate)), rate, b1=0.9)


def _schedule_free_adamw(total_steps: TotalSteps) -> optax.GradientTransformation:
    rate = warmup(0.0025, total_steps)
    base = optax.chain(
        optax.scale_by_rms(0.999, eps=1e-8, eps_in_sqrt=False, bias_correction=True),
        optax.scale_by_learning_rate(_shifted(rate)),
    )
    return optax.contrib.schedule_free(base, rate, b1=0.9)


def _shifted(schedule: optax.Schedule) -> optax.Schedule:
    """Optax's Schedule-Free counts from 1, the base optimizer inside it from 0."""
    return lambda count: schedule(count + 1)


LEARNING_RATE_FREE: dict[str, LearningRateFree] = dict(
    [
        _entry(
            "schedule_free_sgd",
            _schedule_free_sgd,
            "peak 1.0 (Optax's default), linear warm-up over 5% of the run as advised",
            "Defazio et al. 2024, arXiv:2405.15682",
            evaluation_params=schedule_free_average,
        ),
        _entry(
            "schedule_free_adamw",
            _schedule_free_adamw,
            "peak 0.0025 (Optax's default), linear warm-up over 5% of the run as advised",
            "Defazio et al. 2024, arXiv:2405.15682",
            evaluation_params=schedule_free_average,
        ),
        _entry(
            "prodigy",
            lambda total_steps: optax.contrib.prodigy(cosine(total_steps)),
            "cosine from 1 to 0: it works best with a schedule whose base is 1",
            "Mishchenko and Defazio 2023, arXiv:2306.06101",
        ),
        _entry(
            "dadapt_adamw",
            lambda total_steps: optax.contrib.dadapt_adamw(cosine(total_steps)),
            "cosine from 1 to 0: the method finds the scale, the schedule stays",
            "Defazio and Mishchenko 2023, arXiv:2301.07733",
        ),
        _entry(
            "dog",
            lambda _: optax.contrib.dog(),
            "defaults; evaluated at the last iterate, where its authors advise an average",
            "Ivgi et al. 2023, arXiv:2302.12022",
        ),
        _entry(
            "dowg",
            lambda _: optax.contrib.dowg(),
            "defaults",
            "Khaled et al. 2023, arXiv:2305.16284",
        ),
        _entry(
            "momo",
            lambda _: optax.contrib.momo(),
            "defaults: steps of at most 1.0, the loss is bounded below by 0",
            "Schaipp et al. 2023, arXiv:2305.07583",
            needs_value=True,
        ),
        _entry(
            "momo_adam",
            lambda _: optax.contrib.momo_adam(),
            "defaults: steps of at most 0.01, the loss is bounded below by 0",
            "Schaipp et al. 2023, arXiv:2305.07583",
            needs_value=True,
        ),
        _entry(
            "mechanize_sgd",
            lambda total_steps: optax.contrib.mechanize(optax.sgd(cosine(total_steps))),
            "cosine from 1 to 0: the method finds the scale, the schedule stays",
            "Cutkosky et al. 2023, arXiv:2306.00144",
        ),
        _entry(
            "mechanize_adam",
            lambda total_steps: optax.contrib.mechanize(optax.adam(cosine(total_steps))),
            "cosine from 1 to 0: the method finds the scale, the schedule stays",
            "Cutkosky et al. 2023, arXiv:2306.00144",
        ),
        _entry(
            "cocob",
            lambda _: optax.contrib.cocob(),
            "defaults",
            "Orabona and Tommasi 2017, arXiv:1705.07795",
        ),
    ]
)
"""By name the methods, each at its authors' defaults; the entry says which."""
