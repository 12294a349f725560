"""The errors that are answered with one line instead of a traceback."""


class UserError(Exception):
    """Something that the user can change; the message says what. `code` is the exit status."""

    code = 2


class Interrupted(Exception):
    """The user or the system stopped the run; the message says how to go on."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code
