"""Durations as Prometheus writes them (https://prometheus.io/docs/prometheus/latest/querying/basics/#time-durations)."""

import re

_DURATION = re.compile(r"0|(?:\d+(?:ms|[smhdwy]))+")
_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}


def milliseconds(text: str) -> int:
    """A duration such as `1m30s` in milliseconds. Raises `ValueError`."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 30s or 1m30s")
    return sum(int(amount) * _MS[unit] for amount, unit in re.findall(r"(\d+)(ms|[smhdwy])", text))
