"""Parts of a native stack that outlived their supervisor: `kill -9` of supervisord leaves every program running."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil

# supervisord's log line for each process that it starts, in local time
SPAWNED = re.compile(r"^(\S+ \S+),\d+ INFO spawned: '(?P<name>[^']+)' with pid (?P<pid>\d+)$", re.MULTILINE)
# how far the log's time and the process's own start may differ: a process with that id that began at another time is
# somebody else's
SAME_START_SECONDS = 3.0
STOP_SECONDS = 12.0


def leftovers(log: Path) -> dict[str, list[psutil.Process]]:
    """The running processes that supervisord's log says it started, and their groups, by the name of the part.

    A part whose first process has died may live on in others of its process group, as nginx' workers do.
    """
    # the newest start of a part comes last
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
            # the kernel gives an id to no other process while a group has it, so a group is ours or begins with another
            if group and min(process.create_time() for process in group) > began - SAME_START_SECONDS:
                head = next((process for process in group if process.pid == pid), None)
                if head is None or head.create_time() < began + SAME_START_SECONDS:
                    found[name] = group
    return found


def stop_leftovers(found: dict[str, list[psutil.Process]]) -> None:
    """Ends them and their children: asks first, and kills what has not ended after `STOP_SECONDS`."""
    family = {process for group in found.values() for process in group}
    for process in list(family):
        with suppress(psutil.Error):
            family.update(process.children(recursive=True))
    for process in family:
        with suppress(psutil.Error):
            # what is paused hears no signal to stop
            process.resume()
    for group in found.values():
        with suppress(psutil.Error):
            group[0].terminate()
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)


def _spawned(log: Path) -> Iterator[tuple[str, int, float]]:
    """Name, process id and start (Unix seconds) of every process that the log names, oldest first."""
    files = sorted((file for file in log.parent.glob(f"{log.name}.*")), reverse=True)
    for file in [*files, log]:
        with suppress(FileNotFoundError):
            for line in SPAWNED.finditer(file.read_text(errors="replace")):
                began = datetime.strptime(line[1], "%Y-%m-%d %H:%M:%S").timestamp()
                yield line["name"], int(line["pid"]), began
