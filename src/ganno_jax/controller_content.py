"""Policies as plain values and back. What is read is not believed: each value is checked, and named where it is wrong.

An array is a map of its dtype, shape and little-endian bytes.
"""

import dataclasses
import functools
import math
import reprlib
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ganno_jax.env.actions import (
    SHAPES,
    ActionSpace,
    DirectRate,
    Forgetting,
    RateMultipliers,
    RelativeUpdate,
    ScheduleResidual,
    WholeUpdate,
)
from ganno_jax.env.observation import FEATURES
from ganno_jax.inner.directions import DIRECTIONS, Direction
from ganno_jax.inner.layers import KINDS
from ganno_jax.policies.agents import AgentPolicy, Ensemble, as_one, init_actor
from ganno_jax.policies.base import Policy
from ganno_jax.policies.networks import Actor
from ganno_jax.policies.normalizer import Normalizer
from ganno_jax.policies.step_size import WEIGHTS, StepSizePolicy

_SPACES = (
    DirectRate,
    Forgetting,
    RateMultipliers,
    RelativeUpdate,
    ScheduleResidual,
    WholeUpdate,
)
_ACTIONS: dict[str, Any] = {space.__name__: space for space in _SPACES}
_DTYPE = "<f4"  # of every array
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
    if isinstance(policy, StepSizePolicy):
        numbers = {**vars(policy)}
        by_layer = numbers.pop("by_layer")
        return {"step_size": _encode(numbers), "by_layer": by_layer}
    if not isinstance(policy, AgentPolicy | Ensemble):
        raise ValueError(
            "a controller file holds agents or a step-size controller; got a policy of type "
            f"{type(policy).__name__}."
        )
    members = policy.split() if isinstance(policy, Ensemble) else [policy]
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
        raise ValueError(f"`members` must be a list of teams of agents; got {_shown(members)}")
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
        _number(content[name], f"direction.{name}", 0.0, _HUGE)
    return Direction(**content)


def require_entries(content: Any, names: Collection[str], where: str) -> None:
    """Raise a `ValueError` where something is no map with exactly these entries."""
    if not isinstance(content, Mapping):
        raise ValueError(f"`{where}` must be a map; got {_shown(content)}")
    for name in names:
        if name not in content:
            raise ValueError(f"`{where}` has no {name!r}")
    unknown = [name for name in content if name not in names]
    if unknown:
        raise ValueError(
            f"`{where}` has an unknown {_shown(unknown[0])}; known are: {', '.join(names)}"
        )


def one_of(value: Any, known: Collection[str], where: str) -> None:
    """Raise a `ValueError` where a value is none of the known names."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"`{where}` is {_shown(value)}; known are: {', '.join(known)}")


def require_count(value: Any, where: str, highest: int) -> None:
    """Raise a `ValueError` where a value is no whole number from 1 on."""
    if type(value) is not int or not 1 <= value <= highest:
        raise ValueError(
            f"`{where}` must be a whole number from 1 to {highest}; got {_shown(value)}"
        )


def _encode_agents(policy: AgentPolicy) -> dict[str, Any]:
    return {
        "actor": {
            "num_actions": policy.actor.num_actions,
            "hidden": policy.actor.hidden,
            "recurrent": policy.actor.recurrent,
            "num_numbers": policy.actor.num_numbers,
        },
        "actions": _encode_actions(policy.actions),
        "params": _encode(policy.params),
        "normalizer": _encode(vars(policy.normalizer)),
        "feature_mask": _encode(policy.feature_mask),
    }


def _decode_agents(content: Any, where: str) -> AgentPolicy:
    names = ("actor", "actions", "params", "normalizer", "feature_mask")
    require_entries(content, names, where)
    actions = _decode_actions(content["actions"], f"{where}.actions", _ACTIONS)
    actor = _decode_actor(content["actor"], f"{where}.actor", actions)
    moments = {"count": (), "mean": (len(FEATURES),), "second": (len(FEATURES),)}
    normalizer = Normalizer(
        **_decode(content["normalizer"], moments, f"{where}.normalizer")  # in the file's order
    )
    for name in ("count", "second"):
        if np.any(np.asarray(getattr(normalizer, name)) < 0):
            raise ValueError(f"`{where}.normalizer.{name}` must not be negative")
    mask = _decode(content["feature_mask"], (len(FEATURES),), f"{where}.feature_mask")
    if not np.isin(np.asarray(mask), (0.0, 1.0)).all():
        raise ValueError(f"`{where}.feature_mask` must be 0 or 1 everywhere")
    params = _decode(content["params"], _shapes_of(actor), f"{where}.params")
    return AgentPolicy(actor, params, normalizer, mask, actions)


def _decode_actor(content: Any, where: str, actions: ActionSpace) -> Actor:
    require_entries(content, ("num_actions", "hidden", "recurrent", "num_numbers"), where)
    require_count(content["hidden"], f"{where}.hidden", _WIDEST)
    _truth(content["recurrent"], f"{where}.recurrent")
    expected = {"num_actions": actions.num_actions, "num_numbers": len(actions.sets)}
    for name, value in expected.items():
        if type(content[name]) is not type(value) or content[name] != value:
            raise ValueError(
                f"`{where}.{name}` must be {value}, as the action space has it; got {_shown(content[name])}"
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
    _truth(content["by_layer"], "by_layer")
    by_kind = isinstance(numbers["theta"], Mapping) and numbers["theta"].get("shape") == [
        len(KINDS),
        len(WEIGHTS),
    ]
    theta = (len(KINDS), len(WEIGHTS)) if by_kind else (len(WEIGHTS),)
    shapes = {name: theta if name == "theta" else () for name in numbers}
    policy = StepSizePolicy(**_decode(numbers, shapes, "step_size"), by_layer=content["by_layer"])
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
            raise ValueError(f"`{where}` must be a list of numbers; got {_shown(value)}")
        return tuple(_number(factor, where, _TINY, _HUGE) for factor in value)
    if name == "shared":
        return _truth(value, where)
    if name == "num_actions":  # of spaces of real numbers
        if value is not None:
            raise ValueError(f"`{where}` must be nothing; got {_shown(value)}")
        return None
    if name == "peak" and value is None:
        return None
    return _number(value, where, *_RANGES[name])


def _shape_name(function: Any) -> str:
    for name, shape in SHAPES.items():
        if shape is function:
            return name
    raise ValueError(f"a controller file needs a base schedule among: {', '.join(SHAPES)}.")


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | tuple | None) else float(value)


def _number(value: Any, where: str, lowest: float, highest: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not lowest <= value <= highest:
        raise ValueError(
            f"`{where}` must be a number from {lowest:g} to {highest:g}; got {_shown(value)}"
        )
    return value


def _truth(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"`{where}` must be true or false; got {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    """In one line, not longer than it helps."""
    text = reprlib.repr(value)  # which goes no deeper than six levels
    return text if len(text) <= 60 else f"{text[:57]}..."


def _encode(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _encode(value) for key, value in tree.items()}
    array = np.asarray(jax.device_get(tree), _DTYPE)
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": array.tobytes()}


def _decode(content: Any, shapes: Any, where: str) -> Any:
    """Arrays of these shapes, finite; maps in the order of the content."""
    if isinstance(shapes, Mapping):
        require_entries(content, shapes, where)
        return {
            name: _decode(value, shapes[name], f"{where}.{name}") for name, value in content.items()
        }
    require_entries(content, ("dtype", "shape", "data"), where)
    found = f"{_shown(content['dtype'])} {_shown(content['shape'])}"
    if content["dtype"] != _DTYPE or content["shape"] != list(shapes):
        raise ValueError(f"`{where}` must be {_DTYPE!r} {list(shapes)}; got {found}")
    size = np.dtype(_DTYPE).itemsize * math.prod(shapes)
    if not isinstance(content["data"], bytes) or len(content["data"]) != size:
        raise ValueError(f"`{where}` must hold {size} bytes, as many as its shape needs")
    array = np.frombuffer(content["data"], _DTYPE).reshape(shapes)
    if not np.isfinite(array).all():
        raise ValueError(f"`{where}` holds NaN or infinities")
    return jnp.asarray(array)
