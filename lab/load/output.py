"""Writes the generator's messages to the command that started it, as JSON lines."""

import sys

from lab.load.messages import FromGenerator, encode


class Output:
    """Writes messages to standard output."""

    def write(self, message: FromGenerator) -> None:
        """Writes and flushes one message."""
        sys.stdout.buffer.write(encode(message) + b"\n")
        sys.stdout.buffer.flush()
