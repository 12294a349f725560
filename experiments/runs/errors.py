"""The errors that are answered with one line instead of a traceback."""


class UserError(Exception):
    """Something that the user can change; the message says what. `code` is the exit status."""

    code = 2


class Interrupted(BaseException):
    """The user or the system stopped the run; the message says how to go on.

    Like `KeyboardInterrupt` no `Exception`: JAX turns those that are raised while it reads its compilation cache into
    warnings, and the run would go on.
    """

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code
