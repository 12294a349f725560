"""The errors that are answered with one line instead of a traceback."""

import contextlib
from collections.abc import Iterator


class UserError(Exception):
    """Something that the user can change; the message says what. `code` is the exit status."""

    code = 2


@contextlib.contextmanager
def as_user_error(*kinds: type[Exception]) -> Iterator[None]:
    """Errors of these kinds, by default those of wrong values and missing files, as a `UserError` of the same words."""
    caught = kinds or (ValueError, FileNotFoundError)
    try:
        yield
    except caught as error:
        raise UserError(str(error)) from error


class Interrupted(BaseException):
    """The user or the system stopped the run; the message says how to go on.

    Like `KeyboardInterrupt` no `Exception`: JAX turns those that are raised while it reads its compilation cache into
    warnings, and the run would go on.
    """

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code
