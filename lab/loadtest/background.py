"""A load in the background, for other tools of the lab."""

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
    """`glasshouse load PROFILE OPTIONS…` in a separate process. Use it as a context manager.

    Its output goes to `log`, if given.
    """

    def __init__(self, profile: str, options: Sequence[str] = (), runs: Path = RUNS, log: Path | None = None) -> None:
        with (log or Path(os.devnull)).open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lab", "load", profile, *options, "--runs", str(runs)],
                cwd=PLACE,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C must reach only the tool, which then stops the load
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
        """Waits until it ends, and returns the exit status. Raises `subprocess.TimeoutExpired`."""
        return self._process.wait(seconds)

    def stop(self) -> int:
        """Stops it as Ctrl-C does, so that its run is saved, and returns the exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
