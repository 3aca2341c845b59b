"""Runs other programs, and reads what they print."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_program(
    command: Sequence[str],
    *,
    given: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    start_new_session: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, with `given` as standard input (None: empty), and returns its output.

    The output is read as UTF-8 whatever the locale is; bytes that are not UTF-8 are replaced. `timeout` is in seconds.
    Raises `OSError` if it cannot be started, and `subprocess.TimeoutExpired`; a failure is in `returncode`.
    """
    return subprocess.run(
        command,
        input=given or "",
        cwd=cwd,
        env=env,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout,
        check=False,
        start_new_session=start_new_session,
    )


def last_line(*texts: str) -> str:
    """The last line of the first text that has one; `no output` if none has."""
    return next((text.strip().splitlines()[-1] for text in texts if text.strip()), "no output")
