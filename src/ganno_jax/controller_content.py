"""Policies as plain values and back. What is read is not believed: each value is checked (`plain_values`)."""

import dataclasses
import functools
import math
from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np

from ganno_jax.env.actions import ActionSpace, DirectRate, RateMultipliers, ScheduleResidual
from ganno_jax.env.base_shapes import SHAPES
from ganno_jax.env.features import FEATURES
from ganno_jax.env.whole_update import Forgetting, RelativeUpdate, WholeUpdate
from ganno_jax.inner.directions import DIRECTIONS, Direction
from ganno_jax.inner.layers import KINDS
from ganno_jax.plain_values import (
    decode_arrays,
    encode_arrays,
    number,
    one_of,
    require_count,
    require_entries,
    shown,
    truth,
)
from ganno_jax.policies.agents import AgentPolicy, as_one, init_actor, teams_of
from ganno_jax.policies.base import Policy
from ganno_jax.policies.networks import Actor
from ganno_jax.policies.normalizer import Normalizer
from ganno_jax.policies.step_size import WEIGHTS, StepSizePolicy, numbers_of

_SPACES = (
    DirectRate,
    Forgetting,
    RateMultipliers,
    RelativeUpdate,
    ScheduleResidual,
    WholeUpdate,
)
_ACTIONS: dict[str, Any] = {space.__name__: space for space in _SPACES}
_TINY, _HUGE = 1e-30, 1e12
_RANGES = {  # of the numbers of action spaces
    "alpha": (0.0, 50.0),  # whose exponential is finite
    "peak": (_TINY, _HUGE),
    "lowest": (_TINY, _HUGE),
    "highest": (_TINY, _HUGE),
    "gain": (1e-6, 1e6),
    "relative_size": (_TINY, 1e6),
    "first_share": (0.0, 1e6),
    "sharing": (0.0, 1.0),
    "horizon_exponent": (0.0, 10.0),
    "kappa": (0.0, 1e6),
    "epoch_exponent": (0.0, 10.0),
    "coupling": (-10.0, 10.0),
}
# Fields that action spaces got after files of format 5 were written: left out where they are at their default, so that
# fingerprints, which cells of evaluations are kept by, stay as they are.
_LATER = ("coupling",)
_WIDEST, _MOST_MEMBERS = 16_384, 1_000
_MOST_CHOICES = 10_000  # of a categorical agent


def encode_policy(policy: Policy) -> dict[str, Any]:
    """One team of agents or several, or the numbers of a step-size controller.

    Raises:
      ValueError: the policy is another one, or has a base schedule without a name.
    """
    if (numbers := numbers_of(policy)) is not None:
        by_layer = numbers.pop("by_layer")
        return {"step_size": encode_arrays(numbers), "by_layer": by_layer}
    members = teams_of(policy)
    if not members:
        raise ValueError(
            "a controller file holds agents or a step-size controller; got a policy of type "
            f"{type(policy).__name__}."
        )
    return {"members": [_encode_agents(member) for member in members]}


def decode_policy(content: Mapping[str, Any]) -> Policy:
    """What `encode_policy` made, from a map with its entries.

    Raises:
      ValueError: an entry is missing, unknown, or not what it must be.
    """
    if "step_size" in content:
        return _decode_step_size(content)
    members = content["members"]
    if not isinstance(members, list) or not 1 <= len(members) <= _MOST_MEMBERS:
        raise ValueError(f"`members` must be a list of teams of agents; got {shown(members)}")
    teams = [_decode_agents(member, f"members[{i}]") for i, member in enumerate(members)]
    return as_one(teams)


def encode_direction(direction: Direction | None) -> dict[str, Any] | None:
    """The fields of a direction."""
    return None if direction is None else dataclasses.asdict(direction)


def decode_direction(content: Any) -> Direction | None:
    """What `encode_direction` made.

    Raises:
      ValueError: a field is missing, unknown, or not what it must be.
    """
    if content is None:
        return None
    names = [field.name for field in dataclasses.fields(Direction)]
    require_entries(content, names, "direction")
    one_of(content["name"], DIRECTIONS, "direction.name")
    for name in names[1:]:
        number(content[name], f"direction.{name}", 0.0, _HUGE)
    return Direction(**content)


def _encode_agents(policy: AgentPolicy) -> dict[str, Any]:
    return {
        "actor": {
            "num_actions": policy.actor.num_actions,
            "hidden": policy.actor.hidden,
            "recurrent": policy.actor.recurrent,
            "num_numbers": policy.actor.num_numbers,
        },
        "actions": _encode_actions(policy.actions),
        "params": encode_arrays(policy.params),
        "normalizer": encode_arrays(vars(policy.normalizer)),
        "feature_mask": encode_arrays(policy.feature_mask),
    }


def _decode_agents(content: Any, where: str) -> AgentPolicy:
    names = ("actor", "actions", "params", "normalizer", "feature_mask")
    require_entries(content, names, where)
    actions = _decode_actions(content["actions"], f"{where}.actions", _ACTIONS)
    actor = _decode_actor(content["actor"], f"{where}.actor", actions)
    moments = {"count": (), "mean": (len(FEATURES),), "second": (len(FEATURES),)}
    normalizer = Normalizer(
        **decode_arrays(
            content["normalizer"], moments, f"{where}.normalizer"
        )  # in the file's order
    )
    for name in ("count", "second"):
        if np.any(np.asarray(getattr(normalizer, name)) < 0):
            raise ValueError(f"`{where}.normalizer.{name}` must not be negative")
    mask = decode_arrays(content["feature_mask"], (len(FEATURES),), f"{where}.feature_mask")
    if not np.isin(np.asarray(mask), (0.0, 1.0)).all():
        raise ValueError(f"`{where}.feature_mask` must be 0 or 1 everywhere")
    params = decode_arrays(content["params"], _shapes_of(actor), f"{where}.params")
    return AgentPolicy(actor, params, normalizer, mask, actions)


def _decode_actor(content: Any, where: str, actions: ActionSpace) -> Actor:
    require_entries(content, ("num_actions", "hidden", "recurrent", "num_numbers"), where)
    require_count(content["hidden"], f"{where}.hidden", _WIDEST)
    truth(content["recurrent"], f"{where}.recurrent")
    expected = {"num_actions": actions.num_actions, "num_numbers": len(actions.sets)}
    for name, value in expected.items():
        if type(content[name]) is not type(value) or content[name] != value:
            raise ValueError(
                f"`{where}.{name}` must be {value}, as the action space has it; got {shown(content[name])}"
            )
    return Actor(**content)


@functools.cache
def _shapes_of(actor: Actor) -> Any:
    """Of its parameters."""
    made = jax.eval_shape(lambda key: init_actor(actor, len(FEATURES), key), jax.random.key(0))
    return jax.tree.map(lambda leaf: leaf.shape, made)


def _decode_step_size(content: Mapping[str, Any]) -> StepSizePolicy:
    numbers = content["step_size"]
    require_entries(numbers, ("theta", "decay", "lowest", "highest"), "step_size")
    truth(content["by_layer"], "by_layer")
    by_kind = isinstance(numbers["theta"], Mapping) and numbers["theta"].get("shape") == [
        len(KINDS),
        len(WEIGHTS),
    ]
    theta = (len(KINDS), len(WEIGHTS)) if by_kind else (len(WEIGHTS),)
    shapes = {name: theta if name == "theta" else () for name in numbers}
    policy = StepSizePolicy(
        **decode_arrays(numbers, shapes, "step_size"), by_layer=content["by_layer"]
    )
    decay, lowest, highest = (float(x) for x in (policy.decay, policy.lowest, policy.highest))
    if not 0 <= decay < 1:
        raise ValueError(f"`step_size.decay` must be in [0, 1); got {decay:g}")
    if not 0 < lowest <= highest:
        raise ValueError(
            f"`step_size.lowest` must be above 0 and at most `highest`; got {lowest:g} and {highest:g}"
        )
    return policy


def _encode_actions(space: ActionSpace) -> dict[str, Any]:
    """The name of an action space and its fields; those that are action spaces themselves likewise."""
    fields = {}
    usual = {field.name: field.default for field in dataclasses.fields(space)}  # pyright: ignore
    for name, value in vars(space).items():
        if name in _LATER and value == usual[name]:
            continue
        if type(value).__name__ in _ACTIONS:
            fields[name] = _encode_actions(value)
        else:
            fields[name] = _plain(_shape_name(value) if callable(value) else value)
    return {"name": type(space).__name__, "fields": fields}


def _decode_actions(content: Any, where: str, known: Collection[str]) -> ActionSpace:
    require_entries(content, ("name", "fields"), where)
    one_of(content["name"], known, f"{where}.name")
    kind = _ACTIONS[content["name"]]
    where = f"{where}.fields"
    fields = content["fields"]
    names = [field.name for field in dataclasses.fields(kind)]
    if isinstance(fields, Mapping):
        names = [name for name in names if name in fields or name not in _LATER]
    require_entries(fields, names, where)
    made = {name: _decode_field(name, value, f"{where}.{name}") for name, value in fields.items()}
    if made.get("lowest", 0) > made.get("highest", math.inf):
        raise ValueError(f"`{where}.lowest` must be at most `highest`")
    return kind(**made)


def _decode_field(name: str, value: Any, where: str) -> Any:
    """The value of a field of an action space; fields of one name are of one kind in all of them."""
    if name == "schedule_fn":
        one_of(value, SHAPES, where)
        return SHAPES[value]
    if name in ("size", "forgetting"):
        part = RelativeUpdate if name == "size" else Forgetting
        return _decode_actions(value, where, (part.__name__,))
    if name == "factors":
        if not isinstance(value, list) or not 1 <= len(value) <= _MOST_CHOICES:
            raise ValueError(f"`{where}` must be a list of numbers; got {shown(value)}")
        return tuple(number(factor, where, _TINY, _HUGE) for factor in value)
    if name == "shared":
        return truth(value, where)
    if name == "num_actions":  # of spaces of real numbers
        if value is not None:
            raise ValueError(f"`{where}` must be nothing; got {shown(value)}")
        return None
    if name == "peak" and value is None:
        return None
    return number(value, where, *_RANGES[name])


def _shape_name(function: Any) -> str:
    for name, shape in SHAPES.items():
        if shape is function:
            return name
    raise ValueError(f"a controller file needs a base schedule among: {', '.join(SHAPES)}.")


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | tuple | None) else float(value)
