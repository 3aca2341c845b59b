"""Why a load cannot be put on the stack."""


class CannotRunError(Exception):
    """The load cannot start or go on; the message is one line that says what to do."""
