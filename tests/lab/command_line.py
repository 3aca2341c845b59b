"""Runs a command of the lab in this process."""

import click
from click.testing import CliRunner, Result


def invoke(command: click.Command, *arguments: str) -> Result:
    """A command's result; it must have exited on its own, without an exception."""
    done = CliRunner().invoke(command, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done
