"""Finds and stops parts of a native stack that outlived their supervisor, as after `kill -9` of supervisord."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from lab.stack.native import StackError

# supervisord's log lines for its own start and for each process that it starts; `Supervisor.start` sets its time zone
# to UTC
STARTED = re.compile(
    r"^(?P<time>\S+ \S+),\d+ INFO (?:supervisord started with|spawned: '(?P<name>[^']+)' with) pid (?P<pid>\d{1,9})$",
    re.MULTILINE,
)
# Tolerance between the time in the log and the start of the process. A process that has the same id but started at
# another time is not ours.
SAME_START_SECONDS = 3.0
STOP_SECONDS = 12.0


@dataclass(frozen=True)
class _Start:
    """A process in supervisord's log: the part, the process id, the start (unix seconds), and supervisord's own id."""

    name: str
    pid: int
    began: float
    supervisor: int


def leftovers(log: Path) -> dict[str, list[psutil.Process]]:
    """The running processes that supervisord started according to its log, with their process groups, by part name.

    After the first process of a part has died, others of its process group may still run, such as nginx' workers. They
    keep its port, so that its successors end at once: all starts in the log count, not only the last of each part.
    """
    groups: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if process.status() != psutil.STATUS_ZOMBIE:
                groups.setdefault(os.getpgid(process.pid), []).append(process)
    found: dict[str, list[psutil.Process]] = {}
    for start in _starts(log):
        with suppress(psutil.Error, ProcessLookupError):
            if (group := groups.get(start.pid)) and _is_of(start, group):
                known = found.setdefault(start.name, [])
                known.extend(process for process in group if process not in known)
    return found


def _is_of(start: _Start, group: list[psutil.Process]) -> bool:
    """Whether a process group with the id of a start is the one that began with it.

    The kernel does not reuse an id while a process, a group or a session has it, but later. So the group's first
    process must have started when the log says; without it, the others must be in the session of that supervisord.
    """
    if min(process.create_time() for process in group) < start.began - SAME_START_SECONDS:
        return False
    first = next((process for process in group if process.pid == start.pid), None)
    if first is not None:
        return first.create_time() < start.began + SAME_START_SECONDS
    return all(os.getsid(process.pid) == start.supervisor for process in group)


def stop_leftovers(found: dict[str, list[psutil.Process]]) -> None:
    """Terminates them and their children, and kills those that are still running after `STOP_SECONDS`."""
    family = {process for group in found.values() for process in group}
    for process in list(family):
        with suppress(psutil.Error):
            family.update(process.children(recursive=True))
    for process in family:
        with suppress(psutil.Error):
            # a paused process does not handle SIGTERM
            process.resume()
    ids = {process.pid for process in family}
    for process in family:
        with suppress(psutil.Error):
            # a running parent stops its own children
            if process.ppid() not in ids:
                process.terminate()
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)


def _starts(log: Path) -> Iterator[_Start]:
    """Every process in the log, oldest first."""
    files = sorted((file for file in log.parent.glob(f"{log.name}.*")), reverse=True)
    supervisor = 0
    for file in [*files, log]:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StackError(f"{file}: {error.strerror}: run as the user who started the stack") from error
        for line in STARTED.finditer(text):
            pid = int(line["pid"])
            if line["name"] is None:
                supervisor = pid
                continue
            # a truncated line is not a start
            with suppress(ValueError):
                began = datetime.strptime(line["time"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
                yield _Start(line["name"], pid, began.timestamp(), supervisor)
