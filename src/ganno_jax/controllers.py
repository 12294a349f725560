"""Trained controllers as files: small, versioned, readable offline without pickle.

A controller file is one msgpack map of plain values; an array is a map of its dtype, shape and little-endian bytes.
"""

import dataclasses
import hashlib
import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import msgpack
import numpy as np
from flax import struct

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
from ganno_jax.env.observation import FEATURE_VERSION, FEATURES
from ganno_jax.inner.directions import Direction
from ganno_jax.policies.agents import AgentPolicy, Ensemble, as_one
from ganno_jax.policies.base import Policy
from ganno_jax.policies.networks import Actor
from ganno_jax.policies.normalizer import Normalizer
from ganno_jax.policies.step_size import StepSizePolicy

FORMAT, FORMAT_VERSION, SUFFIX = "ganno_jax controller", 4, ".controller"
_SPACES = (
    DirectRate,
    Forgetting,
    RateMultipliers,
    RelativeUpdate,
    ScheduleResidual,
    WholeUpdate,
)
_ACTIONS: dict[str, Any] = {space.__name__: space for space in _SPACES}


@struct.dataclass
class Controller:
    """A trained policy with what is needed to use it, and where it comes from."""

    policy: Policy
    decisions: int = struct.field(pytree_node=False)  # per training, as it was trained
    provenance: Mapping[str, Any] = struct.field(pytree_node=False, default_factory=dict)
    # The one direction that it was trained with, which makes it a whole optimizer; None: it takes any.
    direction: Direction | None = struct.field(pytree_node=False, default=None)


def checked(controller: Controller) -> Controller:
    """The same; a `ValueError` for what is no controller, such as its name."""
    if not isinstance(controller, Controller):
        raise ValueError(
            "`controller` must be a Controller, such as ganno_jax.load('broad'); got "
            f"{type(controller).__name__}."
        )
    return controller


def save(path: str | Path, controller: Controller) -> Path:
    """Write a controller file; a half-written file never takes the place of a whole one.

    Args:
      path: with or without the ending `.controller`.
      controller: what to write, of agents or a step-size controller; its provenance must be plain values (numbers,
        strings, lists, maps).

    Raises:
      ValueError: the policy is another one.
    """
    policy = _encode_policy(controller.policy)
    path = Path(path)
    path = path if path.suffix else path.with_suffix(SUFFIX)
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "feature_version": FEATURE_VERSION,
        "features": list(FEATURES),
        "decisions": controller.decisions,
        **policy,
        "direction": _encode_direction(controller.direction),
        "provenance": dict(controller.provenance),
    }
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(msgpack.packb(content))
    return partial.replace(path)


def load(name: str | Path) -> Controller:
    """Read a controller: one that is shipped, by name, or a file by path, with or without its ending.

    Raises:
      ValueError: no shipped controller has this name; the file is not a controller, damaged or of another version, or
        was trained for other features.
      FileNotFoundError: there is no such file.
    """
    path = Path(name)
    is_name = path.suffix == "" and len(path.parts) == 1
    with_ending = path if path.suffix else path.with_suffix(SUFFIX)  # as `save` was given it
    if path.is_file():
        data = path.read_bytes()
    elif is_name and str(name) in shipped():
        data = (_shipped_folder() / f"{name}{SUFFIX}").read_bytes()
    elif with_ending.is_file():
        data = with_ending.read_bytes()
    elif is_name:
        raise ValueError(
            f"no controller {str(name)!r}; shipped are: {', '.join(shipped()) or 'none'}. "
            "A file is given by its path."
        )
    else:
        raise FileNotFoundError(f"there is no controller file {path}.")
    try:
        return _from_content(_unpack(data, name), name)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{name} is a damaged controller file: {error!r}.") from error


def fingerprint(controller: Controller) -> str:
    """Sixteen hexadecimal digits of all that decides what a controller does; not of where it comes from."""
    content: list[Any] = [_encode_policy(controller.policy), controller.decisions]
    if controller.direction is not None:
        content.append(_encode_direction(controller.direction))
    return hashlib.sha256(msgpack.packb(content)).hexdigest()[:16]


def shipped() -> tuple[str, ...]:
    """Names of the controllers in the package."""
    files = _shipped_folder().iterdir()
    return tuple(sorted(f.name.removesuffix(SUFFIX) for f in files if f.name.endswith(SUFFIX)))


def _shipped_folder() -> Any:
    return importlib.resources.files("ganno_jax") / "shipped"


def _unpack(data: bytes, name: str | Path) -> dict[str, Any]:
    try:
        content = msgpack.unpackb(data)
    except Exception as error:
        raise ValueError(
            f"{name} is not a controller file: it cannot be read as msgpack."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{name} is not a controller file.")
    if content["version"] != FORMAT_VERSION:
        raise ValueError(
            f"{name} has format version {content['version']}; this library reads {FORMAT_VERSION}."
        )
    if content["feature_version"] != FEATURE_VERSION:
        raise ValueError(
            f"{name} was trained for feature version {content['feature_version']} "
            f"({len(content['features'])} features); this library computes version "
            f"{FEATURE_VERSION} ({len(FEATURES)} features)."
        )
    if content["features"] != list(FEATURES):
        different = sorted(set(content["features"]) ^ set(FEATURES)) or ["their order"]
        raise ValueError(f"{name} was trained for other features: {', '.join(different)}.")
    return content


def _from_content(content: dict[str, Any], name: str | Path) -> Controller:
    policy: Policy
    if "step_size" in content:
        policy = StepSizePolicy(**_decode(content["step_size"]), by_layer=content["by_layer"])
    else:
        policy = as_one([_decode_agents(member, name) for member in content["members"]])
    direction = content["direction"]
    return Controller(
        policy,
        content["decisions"],
        content["provenance"],
        None if direction is None else Direction(**direction),
    )


def _encode_direction(direction: Direction | None) -> dict[str, Any] | None:
    return None if direction is None else dataclasses.asdict(direction)


def _encode_policy(policy: Policy) -> dict[str, Any]:
    """One team of agents or several, or the numbers of a step-size controller."""
    if isinstance(policy, StepSizePolicy):
        numbers = {**vars(policy)}
        by_layer = numbers.pop("by_layer")
        numbers = {name: jnp.asarray(value, jnp.float32) for name, value in numbers.items()}
        return {"step_size": _encode(numbers), "by_layer": by_layer}
    if not isinstance(policy, AgentPolicy | Ensemble):
        raise ValueError(
            "a controller file holds agents or a step-size controller; got a policy of type "
            f"{type(policy).__name__}."
        )
    members = policy.split() if isinstance(policy, Ensemble) else [policy]
    return {"members": [_encode_agents(member) for member in members]}


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


def _decode_agents(content: dict[str, Any], name: str | Path) -> AgentPolicy:
    actions = _decode_actions(content["actions"], name)
    return AgentPolicy(
        actor=Actor(**content["actor"]),
        params=_decode(content["params"]),
        normalizer=Normalizer(**_decode(content["normalizer"])),
        feature_mask=_decode(content["feature_mask"]),
        actions=actions,
    )


def _encode_actions(space: ActionSpace) -> dict[str, Any]:
    """The name of an action space and its fields; those that are action spaces themselves likewise."""
    fields = {}
    for name, value in vars(space).items():
        if type(value).__name__ in _ACTIONS:
            fields[name] = _encode_actions(value)
        else:
            fields[name] = _plain(_shape_name(value) if callable(value) else value)
    return {"name": type(space).__name__, "fields": fields}


def _decode_actions(content: dict[str, Any], name: str | Path) -> ActionSpace:
    kind = content["name"]
    if kind not in _ACTIONS:
        raise ValueError(
            f"{name} uses the action space {kind!r}; known are: {', '.join(_ACTIONS)}."
        )
    fields = {
        key: _decode_actions(value, name) if isinstance(value, Mapping) else value
        for key, value in content["fields"].items()
    }
    fields.pop("num_actions", None)
    if "schedule_fn" in fields:
        fields["schedule_fn"] = SHAPES[fields["schedule_fn"]]
    if "factors" in fields:
        fields["factors"] = tuple(fields["factors"])
    return _ACTIONS[kind](**fields)


def _shape_name(function: Any) -> str:
    for name, shape in SHAPES.items():
        if shape is function:
            return name
    raise ValueError(f"a controller file needs a base schedule among: {', '.join(SHAPES)}.")


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | tuple | None) else float(value)


def _encode(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _encode(value) for key, value in tree.items()}
    array = np.asarray(jax.device_get(tree))
    return {
        "dtype": array.dtype.newbyteorder("<").str,
        "shape": list(array.shape),
        "data": array.astype(array.dtype.newbyteorder("<")).tobytes(),
    }


def _decode(tree: Any) -> Any:
    if set(tree) == {"dtype", "shape", "data"}:
        array = np.frombuffer(tree["data"], tree["dtype"]).reshape(tree["shape"])
        return jnp.asarray(array)
    return {key: _decode(value) for key, value in tree.items()}
