"""What to install where a library is missing that only a part of the package needs."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Which extra of the package brings it, by the name that is imported.
_EXTRAS = dict.fromkeys(
    ("matplotlib", "orbax", "PIL", "sklearn", "tensorflow_datasets", "tensorboardX", "tyro"),
    "experiments",
)


def missing(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The error to raise instead: it names the extra that brings the library; the same one where none does."""
    name = (error.name or "").partition(".")[0]
    if name not in _EXTRAS:
        return error
    extra = _EXTRAS[name]
    return ModuleNotFoundError(
        f"{name} is not installed; pip install 'ganno-jax[{extra}]' brings it.", name=error.name
    )


def explained(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The same function, whose `ModuleNotFoundError` names the extra to install."""

    @functools.wraps(function)
    def called(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except ModuleNotFoundError as error:
            raise missing(error) from error

    return called
