"""The CPU and memory limits of the container, read from the cgroup (v2 or v1) at each scrape."""

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

ROOT = Path("/sys/fs/cgroup")
# cgroup v1 represents "no limit" by the largest multiple of the page size that fits into 63 bits
NO_LIMIT_V1 = 1 << 60


class Cgroup:
    """The limits of the cgroup file system at `root`; those of the machine if there is none."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._is_v2 = (root / "cgroup.controllers").exists()

    def throttled_seconds(self) -> float:
        """Seconds for which the group was throttled at its CPU limit, since it was created."""
        key, scale = ("throttled_usec", 1e6) if self._is_v2 else ("throttled_time", 1e9)
        for line in self._read("cpu.stat" if self._is_v2 else "cpu/cpu.stat").splitlines():
            name, _, value = line.partition(" ")
            if name == key and value.isdecimal():
                return int(value) / scale
        return 0.0

    def cpu_limit_cores(self) -> float:
        """Cores that the group may use at once."""
        if self._is_v2:
            quota, _, period = self._read("cpu.max").partition(" ")
        else:
            quota, period = self._read("cpu/cpu.cfs_quota_us"), self._read("cpu/cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            return int(quota) / int(period)
        return float(os.cpu_count() or 1)

    def memory_limit_bytes(self) -> float:
        """Memory that the group may use, in bytes."""
        text = self._read("memory.max" if self._is_v2 else "memory/memory.limit_in_bytes")
        if text.isdecimal() and int(text) < NO_LIMIT_V1:
            return float(text)
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))

    def _read(self, name: str) -> str:
        try:
            return (self._root / name).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""


class CgroupCollector(Collector):
    """The cgroup's values as metrics."""

    def __init__(self, cgroup: Cgroup) -> None:
        self._cgroup = cgroup

    def collect(self) -> Iterable[Metric]:
        """Reads the files."""
        yield CounterMetricFamily(
            "process_cpu_throttled_seconds",
            "Time for which this replica was throttled at its CPU limit.",
            self._cgroup.throttled_seconds(),
        )
        yield GaugeMetricFamily(
            "process_cpu_limit_cores",
            "CPU limit of the cgroup, or the machine's cores.",
            self._cgroup.cpu_limit_cores(),
        )
        yield GaugeMetricFamily(
            "process_memory_limit_bytes",
            "Memory limit of the cgroup, or the machine's memory.",
            self._cgroup.memory_limit_bytes(),
        )
