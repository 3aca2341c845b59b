"""Prints and stores the results."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.figures import Figure
from benchmarks.part import Part, Table

RESULTS = Path(__file__).parent / "results"


def show(console: Console, part: Part) -> None:
    """Prints one part."""
    if part.text:
        console.print(part.text, highlight=False)
    for table in part.tables:
        console.print(_drawn(table))


def show_figures(console: Console, figures: Sequence[Figure]) -> None:
    """Prints each figure with its target."""
    drawn = RichTable(title="Figures to reach", title_justify="left")
    for column in ("figure", "measured", "to reach", ""):
        drawn.add_column(column)
    for each in figures:
        verdict = "[green]met[/]" if each.is_met else "[red]not met[/]"
        drawn.add_row(each.name, f"{each.value:.3g}{each.unit}", each.wanted, verdict)
    console.print(drawn)


def write(path: Path | None, parts: dict[str, Part], *, is_quick: bool) -> Path:
    """Writes all results as JSON, by default to a file named by the time. Raises `OSError`."""
    now = datetime.now(UTC)
    if path is None:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    content = {
        "when": now.isoformat(timespec="seconds"),
        "is_quick": is_quick,
        "machine": machine(),
        "parts": {
            name: {"tables": [asdict(table) for table in part.tables], "text": part.text, "data": part.data}
            for name, part in parts.items()
        },
        "figures": [asdict(each) | {"is_met": each.is_met} for part in parts.values() for each in part.figures],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def machine() -> dict[str, Any]:
    """The environment of the measurement: processor, cores, Python, load average, and commit."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
        "commit": _commit(),
    }


def _drawn(table: Table) -> RichTable:
    drawn = RichTable(title=table.title, title_justify="left")
    for number, column in enumerate(table.columns):
        drawn.add_column(column, justify="right" if number else "left")
    for row in table.rows:
        drawn.add_row(*row)
    return drawn


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _commit() -> str:
    try:
        asked = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=RESULTS.parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return asked.stdout.strip()
