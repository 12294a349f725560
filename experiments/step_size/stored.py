"""Evaluations of step-size controllers in the file that figures, tables and summary are made from again."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.runs import whole_files
from experiments.runs.errors import UserError
from experiments.runs.folder import RunFolder
from experiments.runs.outputs import is_finite
from experiments.step_size.evaluation import EvaluateResult, Panel

_OF_COMPARISON = ("log_loss", "worst_log_loss", "error", "worst_error", "diverged")


def store(folder: RunFolder, found: Mapping[str, EvaluateResult]) -> None:
    """Keep what the figures are drawn from."""
    values = {name: dataclasses.asdict(result) for name, result in found.items()}
    whole_files.write_object(folder.tables / "evaluation.json", values)


def stored(folder: RunFolder) -> dict[str, EvaluateResult]:
    """What `store` kept, by optimizer.

    Raises:
      UserError: nothing, or the file is damaged.
    """
    path = folder.tables / "evaluation.json"
    try:
        found = {name: _result(part) for name, part in whole_files.read_object(path).items()}
        if not found:
            raise ValueError(f"{path} has no optimizer")
    except (OSError, ValueError, KeyError) as error:
        reason = f"{path} has no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{folder.path} has no evaluation to draw: {reason}") from error
    return found


def _result(values: Any) -> EvaluateResult:
    part = _object(values, "an optimizer")
    steps = _numbers(part["steps"], 1, "steps")
    trajectories = _object(part["rates"], "`rates`").items()
    rates = {name: _numbers(x, 2, "rates", may_be_nan=True) for name, x in trajectories}
    if not rates or any(x.shape[1] != steps.size or (x < 0).any() for x in rates.values()):
        raise ValueError("`rates` must have a number from 0 for each of `steps`")
    losses, errors = _panel(part["losses"], "losses"), _panel(part["errors"], "errors")
    if not {"static", "controlled"} <= losses.keys() or losses.keys() != errors.keys():
        raise ValueError("`losses` and `errors` must be of static and controlled rates")
    if any((x == 0).any() for _, x in losses.values()):
        raise ValueError("`losses` must be above 0")
    return EvaluateResult(
        theta=_numbers(part["theta"], 1, "theta"),
        losses=losses,
        errors=errors,
        steps=steps,
        rates=rates,
        comparison=_comparison(part["comparison"]),
        perturbed_losses=_numbers(part["perturbed_losses"], 1, "perturbed_losses"),
        unperturbed_loss=float(_numbers(part["unperturbed_loss"], 0, "unperturbed_loss")),
    )


def _panel(values: Any, name: str) -> Panel:
    found = {}
    for policy, pair in _object(values, f"`{name}`").items():
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"`{name}` must be pairs of rates and numbers")
        rates, numbers = _numbers(pair[0], 1, name), _numbers(pair[1], 2, name)
        if len(rates) != len(numbers) or (rates <= 0).any() or (numbers < 0).any():
            raise ValueError(f"`{name}` must be a row of numbers from 0 for each rate above 0")
        found[policy] = rates, numbers
    return found


def _comparison(values: Any) -> list[dict[str, Any]]:
    if not isinstance(values, list) or not values:
        raise ValueError("`comparison` must be a list of rows")
    rows = [_object(row, "a row of `comparison`") for row in values]
    for row in rows:
        wrong = [key for key in _OF_COMPARISON if not is_finite(row.get(key))]
        if wrong or not isinstance(row["policy"], str):
            raise ValueError(f"a row of `comparison` has no {(wrong or ['policy'])[0]}")
        if row["peak"] is not None and not is_finite(row["peak"]):
            raise ValueError(f"`peak` in `comparison` must be a number; got {row['peak']!r}")
    return rows


def _numbers(
    values: Any, num_axes: int, name: str, *, may_be_nan: bool = False
) -> np.ndarray[Any, Any]:
    """Finite numbers with so many axes, each of at least one entry."""
    try:
        found = np.asarray(values, float)  # null: nan
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be numbers ({error})") from error
    if found.ndim != num_axes or not found.size:
        raise ValueError(f"`{name}` must have {num_axes} axes; got {list(found.shape)}")
    if not (may_be_nan or np.isfinite(found).all()):
        raise ValueError(f"`{name}` holds NaN or infinities")
    return found


def _object(values: Any, what: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ValueError(f"{what} must be a JSON object; got {type(values).__name__}")
    return values
