"""The report of drills: a table on the terminal, and `report.html` and `drills.json` in runs/."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path

from rich.table import Table

from lab.alerts.drills.runner import Outcome
from lab.report.page import STYLE, table

HEADS = ("Alert", "Fault", "Fires", "Notified", "Resolved", "Failed requests", "Error budget left", "Others", "Verdict")


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """One row per drill; times in seconds after the fault began, or after it ended."""
    return [
        (
            each.alert,
            f"{each.kind} {each.part}".strip(),
            _seconds(each.fires),
            "inhibited" if each.held else _seconds(each.notified),
            _seconds(each.cleared),
            _failed(each),
            _budget(each),
            ", ".join(each.beside),
            each.verdict,
        )
        for each in outcomes
    ]


def shown(outcomes: Sequence[Outcome]) -> Table:
    """The table for the terminal."""
    found = Table(*HEADS)
    for each, row in zip(outcomes, rows(outcomes), strict=True):
        found.add_row(*row, style="dim" if each.skipped else "red" if each.wrong else "")
    return found


def summary(outcomes: Sequence[Outcome]) -> str:
    """One line: how many drills passed, failed and were not run."""
    ran = [each for each in outcomes if not each.skipped]
    failed = [each for each in ran if each.wrong]
    recall = sum(each.fires is not None for each in ran) / len(ran) if ran else 0.0
    skipped = len(outcomes) - len(ran)
    return f"{len(ran) - len(failed)} passed, {len(failed)} failed, {skipped} not run; recall {recall:.2f}"


def write(outcomes: Sequence[Outcome], folder: Path, way: str) -> None:
    """Writes `report.html` and `drills.json`. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    title = f"Drills, {way}"
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE()}</style></head>'
        f"<body><h1>{escape(title)} <small>{escape(folder.name)}</small></h1><section>"
        f"<p>{escape(summary(outcomes))}</p>"
        "<p>Seconds from the fault to firing and to the notification, and from the end of the fault to resolving. "
        "Failed requests are those that the gateway answered with 5xx; the budget is that of availability.</p>"
        f"{table(HEADS, rows(outcomes))}</section></body></html>\n"
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    (folder / "drills.json").write_text(
        json.dumps([asdict(each) for each in outcomes], indent=1) + "\n", encoding="utf-8"
    )


def _failed(outcome: Outcome) -> str:
    """How many requests the gateway answered with 5xx, from the fault until all alerts resolved."""
    before, after = outcome.before, outcome.after
    # `desk` counts them, and may itself have been the part with the fault
    if before is None or after is None or after.requests < before.requests:
        return ""
    return f"{after.failed - before.failed:.0f} of {after.requests - before.requests:.0f}"


def _budget(outcome: Outcome) -> str:
    left = [each.budget for each in (outcome.before, outcome.after) if each and each.budget is not None]
    return " → ".join(f"{each:.1%}" for each in left) if len(left) > 1 else ""


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} s"
