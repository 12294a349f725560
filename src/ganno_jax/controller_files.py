"""Trained controllers as files: small, versioned, readable offline without pickle, and never believed.

A controller file is one msgpack map: format, version, and the content as bytes beside their SHA-256, so that damage is
noticed wherever it is. The content is another map of plain values (`controller_content`).
"""

import hashlib
import importlib.resources
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import msgpack

from ganno_jax import controller_content as contents
from ganno_jax.controllers import Controller, checked
from ganno_jax.env.features import FEATURE_VERSION, FEATURES

FORMAT, FORMAT_VERSION, SUFFIX = "ganno_jax controller", 5, ".controller"


_LARGEST_FILE = 1 << 28  # bytes


_LONGEST = 10_000  # entries of a list or map, so that a few bytes cannot claim the memory


_MOST_DECISIONS = 1_000_000


def save(path: str | Path, controller: Controller) -> Path:
    """Write a controller file; a half-written file never takes the place of a whole one.

    Args:
      path: with or without the ending `.controller`.
      controller: what to write, of agents or a step-size controller; its provenance must be plain values (numbers,
        strings, lists, maps).

    Raises:
      ValueError: the policy is another one, or something that `load` would refuse, such as weights that are not finite.
    """
    checked(controller)
    path = _path_of(path)
    path = path if path.suffix else path.with_suffix(SUFFIX)
    values = {
        "feature_version": FEATURE_VERSION,
        "features": list(FEATURES),
        "decisions": controller.decisions,
        **contents.encode_policy(controller.policy),
        "direction": contents.encode_direction(controller.direction),
        "provenance": dict(controller.provenance),
    }
    try:
        content = msgpack.packb(values)
        _from_content(msgpack.unpackb(content, strict_map_key=True))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"this controller cannot be written: {str(error).rstrip('.')}.") from error
    data = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "sha256": hashlib.sha256(content).hexdigest(),
        "content": content,
    }
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(msgpack.packb(data))
        file.flush()
        os.fsync(file.fileno())
    return partial.replace(path)


def load(name: str | Path) -> Controller:
    """Read a controller: one that is shipped, by name, or a file by path, with or without its ending.

    Raises:
      ValueError: no shipped controller has this name; the file is not a controller, damaged or of another version, or
        was trained for other features.
      FileNotFoundError: there is no such file.
    """
    path = _path_of(name)
    is_name = path.suffix == "" and len(path.parts) == 1
    with_ending = path if path.suffix else path.with_suffix(SUFFIX)  # as `save` was given it
    if path.is_file():
        data = _bytes_of(path)
    elif is_name and str(name) in shipped():
        data = (_shipped_folder() / f"{name}{SUFFIX}").read_bytes()
    elif with_ending.is_file():
        data = _bytes_of(with_ending)
    elif is_name:
        raise ValueError(
            f"no controller {str(name)!r}; shipped are: {', '.join(shipped()) or 'none'}. "
            "A file is given by its path."
        )
    else:
        raise FileNotFoundError(f"there is no controller file {path}.")
    content = _unpack(data, name)
    _require_our_features(content, name)
    try:
        # Arrays, also where a function that is traced loads them.
        with jax.ensure_compile_time_eval():
            return _from_content(content)
    except ValueError as error:
        raise ValueError(
            f"{name} is a damaged controller file: {str(error).rstrip('.')}."
        ) from error


def fingerprint(controller: Controller) -> str:
    """Sixteen hexadecimal digits of all that decides what a controller does; not of where it comes from."""
    content: list[Any] = [contents.encode_policy(controller.policy), controller.decisions]
    if controller.direction is not None:
        content.append(contents.encode_direction(controller.direction))
    return hashlib.sha256(msgpack.packb(content)).hexdigest()[:16]


def shipped() -> tuple[str, ...]:
    """Names of the controllers in the package."""
    files = _shipped_folder().iterdir()
    return tuple(sorted(f.name.removesuffix(SUFFIX) for f in files if f.name.endswith(SUFFIX)))


def _shipped_folder() -> Any:
    return importlib.resources.files("ganno_jax") / "shipped"


def _path_of(name: Any) -> Path:
    named = isinstance(name, str | os.PathLike) and Path(name).name
    if not named or os.fspath(name).endswith(os.sep):
        raise ValueError(
            f"a controller is given by its name or the path of its file; got {name!r}."
        )
    return Path(name)


def _bytes_of(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(
            f"{path} is not a controller file: it has more than {_LARGEST_FILE} bytes."
        )
    return path.read_bytes()


def _unpack(data: bytes, name: str | Path) -> dict[str, Any]:
    """The content of a file that is of our format and version, and as it was written."""
    outer = _map_of(data, f"{name} is not a controller file: it cannot be read as msgpack.")
    if outer.get("format") != FORMAT:
        raise ValueError(f"{name} is not a controller file.")
    version, content = outer.get("version"), outer.get("content")
    if type(version) is int and version != FORMAT_VERSION:
        raise ValueError(
            f"{name} has format version {version}; this library reads {FORMAT_VERSION}."
        )
    changed = f"{name} is a damaged controller file: its content is not as it was written."
    if type(version) is not int or not isinstance(content, bytes):
        raise ValueError(changed)
    if outer.get("sha256") != hashlib.sha256(content).hexdigest():
        raise ValueError(changed)
    return _map_of(content, f"{name} is a damaged controller file: its content is no map.")


def _map_of(data: bytes, otherwise: str) -> dict[str, Any]:
    """A map as msgpack has it; a `ValueError` with the sentence for everything else."""
    try:
        found = msgpack.unpackb(data, max_array_len=_LONGEST, max_map_len=_LONGEST)
    except Exception as error:  # msgpack raises many kinds, some that are no ValueError
        raise ValueError(otherwise) from error
    if not isinstance(found, dict):
        raise ValueError(otherwise)
    return found


def _require_our_features(content: Mapping[str, Any], name: str | Path) -> None:
    version, features = content.get("feature_version"), content.get("features")
    is_list = isinstance(features, list) and all(isinstance(f, str) for f in features)
    if type(version) is not int or not is_list:
        raise ValueError(
            f"{name} is a damaged controller file: it does not say for which features it was trained."
        )
    if version != FEATURE_VERSION:
        raise ValueError(
            f"{name} was trained for feature version {version} ({len(features)} features); this library "
            f"computes version {FEATURE_VERSION} ({len(FEATURES)} features)."
        )
    if features != list(FEATURES):
        different = sorted(set(features) ^ set(FEATURES)) or ["their order"]
        raise ValueError(
            f"{name} was trained for other features: {', '.join(map(repr, different[:5]))}."
        )


def _from_content(content: Mapping[str, Any]) -> Controller:
    policy = ("step_size", "by_layer") if "step_size" in content else ("members",)
    names = ("feature_version", "features", "decisions", *policy, "direction", "provenance")
    contents.require_entries(content, names, "content")
    contents.require_count(content["decisions"], "decisions", _MOST_DECISIONS)
    provenance = content["provenance"]
    if not isinstance(provenance, Mapping):
        raise ValueError(f"`provenance` must be a map; got {type(provenance).__name__}")
    return Controller(
        contents.decode_policy(content),
        content["decisions"],
        provenance,
        contents.decode_direction(content["direction"]),
    )
