"""The size and free space of the disk that holds the stack's data. Prometheus does not expose that of its own disk."""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest


class Disk:
    """The disk that holds `folder`. In a container, its root and the volumes are on the same disk of the engine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._registry = CollectorRegistry()
        self._size = Gauge("desk_disk_size_bytes", "Size of the disk with the stack's data.", registry=self._registry)
        self._available = Gauge(
            "desk_disk_available_bytes", "Space that is available to ordinary users.", registry=self._registry
        )

    def exposition(self) -> str:
        """Both sizes in Prometheus' text format; empty if the folder does not exist."""
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return ""
        self._size.set(found.f_blocks * found.f_frsize)
        self._available.set(found.f_bavail * found.f_frsize)
        return generate_latest(self._registry).decode()
