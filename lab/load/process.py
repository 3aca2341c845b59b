"""Starts and stops the generator's processes."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import IO, Self

import msgspec

from lab.load.messages import End, Failed, FromGenerator, Plan, decode_from_generator, encode

# Seconds after which a process that was asked to end is killed. A worker waits for outstanding requests for
# `GRACE_SECONDS` of them.
STOP_SECONDS = 2.0


GENERATOR = (sys.executable, "-m", "lab.load.generator")


@dataclass(frozen=True)
class Processes:
    """The command lines of a generator's processes on this machine.

    `lead` reads the plan from standard input and writes the messages to standard output. In a cluster it is
    `kubectl attach`, which connects these with the coordinator's.
    """

    lead: Sequence[str]
    workers: Sequence[Sequence[str]] = ()


def local_processes(workers: int, remote_workers: int, port: int) -> Processes:
    """A single process, or a master that listens on `port` and the workers on this machine."""
    total = workers + remote_workers
    if not total:
        return Processes(GENERATOR)
    bind = "0.0.0.0" if remote_workers else "127.0.0.1"  # noqa: S104 (for workers on other machines)
    lead = (*GENERATOR, "--workers", str(total), "--bind", bind, "--port", str(port))
    return Processes(lead, [(*GENERATOR, "--master", "127.0.0.1", "--port", str(port))] * workers)


class Generator:
    """The running processes of a generator. Use it as a context manager."""

    def __init__(self, plan: Plan, processes: Processes, log: Path) -> None:
        self.messages: Queue[FromGenerator | None] = Queue()
        """The generator's messages; None after the last one."""
        self.worker_pids: list[int] = []
        """The worker processes on this machine, in start order."""
        self._log = log
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lead = self._start(processes.lead, subprocess.PIPE)
        for command in processes.workers:
            self.worker_pids.append(self._start(command, subprocess.DEVNULL).pid)
        _pipe(self._lead.stdin).write(encode(plan) + b"\n")
        _pipe(self._lead.stdin).flush()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def end_load(self) -> None:
        """Asks the generator to send no more requests, report the outcomes, and end."""
        if self._lead.stdin and not self._lead.stdin.closed:
            self._lead.stdin.close()

    def stop(self) -> None:
        """Asks the generator to end, and kills it if it does not."""
        self.end_load()
        for process in self._processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._log.exists() and not self._log.stat().st_size:
            self._log.unlink()

    def _start(self, command: Sequence[str], output: int) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=log,
                # Ctrl-C must reach only the command, which then asks the generator to end
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _read(self) -> None:
        is_complete = False
        for line in _pipe(self._lead.stdout):
            try:
                message = decode_from_generator.decode(line)
            except (msgspec.MsgspecError, ValueError):
                # output of something else in that process, or a message that was cut off at the end
                with self._log.open("ab") as log:
                    log.write(line)
                continue
            is_complete = is_complete or isinstance(message, End | Failed)
            self.messages.put(message)
        # without a last message it has failed if its exit status says so, or, since kubectl's status says nothing about
        # it, if it was not asked to end
        if not is_complete and (self._lead.wait() != 0 or not _pipe(self._lead.stdin).closed):
            self.messages.put(Failed(f"the load generator ended: see {self._log}"))
        self.messages.put(None)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the process was started without a pipe")
    return pipe
