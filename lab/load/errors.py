"""Errors of the load generator."""


class CannotRunError(Exception):
    """The load cannot start or go on; the message is one line that says what to do."""
