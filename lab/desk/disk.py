"""How full the disk is that the stack keeps its data on, as the desk sees it: Prometheus does not tell of its own."""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest


class Disk:
    """The disk under `folder`. Containers' volumes are on the engine's own disk, which a container's root is on too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._registry = CollectorRegistry()
        self._size = Gauge("desk_disk_size_bytes", "Size of the disk under the stack's data.", registry=self._registry)
        self._available = Gauge(
            "desk_disk_available_bytes", "What is free of it for an ordinary user.", registry=self._registry
        )

    def exposition(self) -> str:
        """Both sizes in Prometheus' text format; nothing where there is no such folder."""
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return ""
        self._size.set(found.f_blocks * found.f_frsize)
        self._available.set(found.f_bavail * found.f_frsize)
        return generate_latest(self._registry).decode()
