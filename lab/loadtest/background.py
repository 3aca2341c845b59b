"""A load for other tools of the lab: started, left running beside what they do, and stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from lab.runs.record import RUNS
from lab.settings import PLACE

STOP_SECONDS = 60.0


class BackgroundLoad:
    """`glasshouse load PROFILE OPTIONS…` in a process of its own. Use it as a context manager.

    What it prints goes to `log`, or nowhere. Its exit status is in `exit_status` once it ended.
    """

    def __init__(self, profile: str, options: Sequence[str] = (), runs: Path = RUNS, log: Path | None = None) -> None:
        with (log or Path(os.devnull)).open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lab", "load", profile, *options, "--runs", str(runs)],
                cwd=PLACE,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the tool, which then stops the load
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def exit_status(self) -> int | None:
        """None while it runs; else 0 met, 1 missed or stopped, 2 could not run."""
        return self._process.poll()

    def wait(self, seconds: float | None = None) -> int:
        """Waits for its end. Raises `subprocess.TimeoutExpired`."""
        return self._process.wait(seconds)

    def stop(self) -> int:
        """Ends it as Ctrl-C does, so that its run is kept, and gives the exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
