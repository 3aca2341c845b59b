"""The index of all alerts in docs/alerts.md, generated from the catalog by `python -m lab.alerts.index`."""

import re
import sys

from lab.alerts.catalog import Alert, load_alerts
from lab.alerts.wording import figure
from lab.settings import ROOT

PAGE = ROOT / "docs" / "alerts.md"
BEGIN, END = "<!-- index: written by `make rules` -->", "<!-- /index -->"
HEAD = """\
| alert | severity | signal | fires | for | floor | runbook |
| --- | --- | --- | --- | --- | --- | --- |
"""


def index() -> str:
    """The table, one row per alert."""
    return HEAD + "".join(_line(alert) for alert in load_alerts())


def with_index(page: str) -> str:
    """The text of docs/alerts.md with the current table."""
    return re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}",
        lambda _: f"{BEGIN}\n{index()}{END}",
        page,
        flags=re.DOTALL,
    )


def _line(alert: Alert) -> str:
    definition, tuning = alert.definition, alert.tuning
    watched = " ".join((definition.signal or definition.condition).split()).replace("|", "\\|")
    fires = "while true"
    if tuning.threshold is not None:
        fires = f"{definition.fires} {figure(tuning.threshold, definition.unit)}"
    floor = "" if tuning.floor is None else f"{tuning.floor:g}"
    runbook = alert.runbook.removeprefix("alerts/runbooks/").removesuffix(".md")
    return (
        f"| `{alert.name}` | {tuning.severity} | `{watched}` | {fires} | {tuning.hold} | {floor}"
        f" | [{runbook}](../{alert.runbook}) |\n"
    )


def main() -> int:
    """Updates docs/alerts.md."""
    PAGE.write_text(with_index(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
