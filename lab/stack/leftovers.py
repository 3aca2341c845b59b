"""Finds and stops parts of a native stack that outlived their supervisor, as after `kill -9` of supervisord."""

import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

from lab.stack.native import StackError

# supervisord's log line for each process that it starts, in its local time, which is UTC (Supervisor.start)
SPAWNED = re.compile(r"^(\S+ \S+),\d+ INFO spawned: '(?P<name>[^']+)' with pid (?P<pid>\d{1,9})$", re.MULTILINE)
# Tolerance between the time in the log and the start of the process. A process that has the same id but started at
# another time is not ours.
SAME_START_SECONDS = 3.0
STOP_SECONDS = 12.0


def leftovers(log: Path) -> dict[str, list[psutil.Process]]:
    """The running processes that supervisord started according to its log, with their process groups, by part name.

    After the first process of a part has died, others of its process group may still run, such as nginx' workers.
    """
    # the last start of a part in the log overwrites earlier ones
    starts = {name: (pid, began) for name, pid, began in _spawned(log)}
    groups: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if process.status() != psutil.STATUS_ZOMBIE:
                groups.setdefault(os.getpgid(process.pid), []).append(process)
    found: dict[str, list[psutil.Process]] = {}
    for name, (pid, began) in starts.items():
        with suppress(psutil.Error):
            group = groups.get(pid, [])
            # the kernel does not reuse a process id while a group has it, so the group is ours or has a newer leader
            if group and min(process.create_time() for process in group) > began - SAME_START_SECONDS:
                head = next((process for process in group if process.pid == pid), None)
                if head is None or head.create_time() < began + SAME_START_SECONDS:
                    found[name] = group
    return found


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
    for group in found.values():
        with suppress(psutil.Error):
            group[0].terminate()
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)


def _spawned(log: Path) -> list[tuple[str, int, float]]:
    """Name, process id and start (unix seconds) of every process in the log, oldest first."""
    starts = []
    files = sorted((file for file in log.parent.glob(f"{log.name}.*")), reverse=True)
    for file in [*files, log]:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StackError(f"{file}: {error.strerror}: run as the user who started the stack") from error
        for line in SPAWNED.finditer(text):
            # a line that was cut off is not a start
            with suppress(ValueError):
                began = datetime.strptime(line[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
                starts.append((line["name"], int(line["pid"]), began.timestamp()))
    return starts
