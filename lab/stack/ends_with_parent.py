"""Runs a command until it ends or standard input is closed, so that it does not outlive the process that started it.

    python -IS ends_with_parent.py COMMAND...

The parent holds the other end of standard input. The kernel closes it when the parent ends, however it ends.
"""

import os
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    """Runs the command, and returns its exit status."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        child.terminate()

    threading.Thread(target=end, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) & 0xFF)
