"""The generator's way to the command that started it: one JSON message a line."""

import sys

from lab.load.messages import FromGenerator, encode


class Output:
    """Writes messages to standard output."""

    def write(self, message: FromGenerator) -> None:
        """Writes one message at once."""
        sys.stdout.buffer.write(encode(message) + b"\n")
        sys.stdout.buffer.flush()
