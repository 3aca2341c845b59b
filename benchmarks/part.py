"""The result of one part of the benchmarks, and the scale of the measurements."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import Figure


@dataclass(frozen=True)
class Table:
    """A table for the terminal. The first column is text, the others are numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Part:
    """The result of one part. `text` is printed unchanged; `data` is the raw data of the tables, for the JSON file."""

    tables: Sequence[Table]
    figures: Sequence[Figure]
    data: dict[str, Any]
    text: str = ""


@dataclass(frozen=True)
class Scale:
    """Durations and numbers of repetitions."""

    rounds: int = 12
    leg_seconds: int = 3
    guide_requests: int = 1000
    connections: Sequence[int] = field(default=(1, 4, 16, 64, 256))
    replicas: Sequence[int] = field(default=(1, 2, 3))
    tasks: Sequence[int] = field(default=(1_000, 10_000, 100_000, 1_000_000))
    growth_rounds: int = 4
    page_requests: int = 300
    memory_minutes: float = 10
    watched_replicas: Sequence[int] = field(default=(1, 10, 100))
    watch_minutes: float = 3


QUICK = Scale(
    rounds=3,
    leg_seconds=2,
    guide_requests=200,
    connections=(1, 16, 256),
    tasks=(1_000, 100_000),
    growth_rounds=1,
    page_requests=100,
    memory_minutes=1,
    watched_replicas=(10, 100),
    watch_minutes=2,
)
