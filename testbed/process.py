"""A server as a child process that can be stopped, killed, paused and started again."""

import os
import random
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

from testbed.conditions import patient
from testbed.leftovers import inherited, record

# below the kernel's range for outgoing connections, so that none of these is in use by one
PORTS = range(22_000, 30_000)
# a Redis Cluster node uses a second port 10,000 higher, for the other nodes
REDIS_PORTS = range(20_000, 22_000)
BUS_OFFSET = 10_000
# With `pytest -n` each worker has its own share of the ports, and no port is used twice, so that a server that binds
# its port late does not lose it to another.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_handed_out: set[int] = set()


def free_port() -> int:
    """A free port of this machine."""
    return free_block(1)


def free_block(count: int) -> int:
    """The first of `count` consecutive free ports."""
    return _free(PORTS, range(count))


def free_redis_block(count: int) -> int:
    """Like `free_block`, for nodes of a Redis Cluster."""
    return _free(REDIS_PORTS, [*range(count), *range(BUS_OFFSET, BUS_OFFSET + count)])


def _free(ports: range, offsets: Iterable[int]) -> int:
    share = len(ports) // WORKERS
    firsts = range(ports.start + WORKER * share, ports.start + (WORKER + 1) * share - max(offsets) % BUS_OFFSET)
    for first in random.sample(firsts, len(firsts)):
        block = {first + offset for offset in offsets}
        if not block & _handed_out and all(map(_is_free, block)):
            _handed_out.update(block)
            return first
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    """Whether the port accepts connections."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A command that runs in the background. Its output is appended to `log`."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self._command = list(command)
        self._cwd = cwd
        self._env = dict(env) | inherited() if env is not None else None
        self._user = user
        self.log = log
        self._child: subprocess.Popen[bytes] | None = None
        self.is_paused = False
        """Whether it is paused."""

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._child is not None, "not started"
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether it is running."""
        return self._child is not None and self._child.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit status; None while it runs."""
        return self._child.poll() if self._child else None

    def start(self) -> None:
        """Starts it, unless it is running."""
        if self.is_running:
            return
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=self._env,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        record(self._child.pid)

    def signal(self, number: int) -> None:
        """Sends a signal, if it is running."""
        if self.is_running:
            os.kill(self.pid, number)

    def pause(self) -> None:
        """Freezes it: connections stay open, but nothing is answered."""
        self.is_paused = True
        self.signal(SIGSTOP)

    def resume(self) -> None:
        """Resumes it."""
        self.is_paused = False
        self.signal(SIGCONT)

    def stop(self, number: int = SIGTERM, timeout: float = 15.0) -> int:
        """Terminates it and waits; kills it if that takes too long. Returns the exit status."""
        if self._child is None:
            return 0
        if self.is_paused:
            self.resume()
        self.signal(number)
        try:
            return self._child.wait(patient(timeout))
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """Kills it with SIGKILL."""
        if self._child is None:
            return 0
        self.is_paused = False
        self.signal(SIGKILL)
        return self._child.wait(patient(10))

    def output(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""
