"""Writes every dashboard's JSON: `python -m observability.dashboards`."""

from pathlib import Path

from observability.dashboards import DASHBOARDS
from observability.dashboards.frame import render

FOLDER = Path(__file__).resolve().parent.parent / "grafana" / "dashboards"


def main() -> None:
    """Writes the JSON files beside Grafana's provisioning, and removes those without a source."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    written = {FOLDER / f"{dashboard.uid}.json": render(dashboard) for dashboard in DASHBOARDS}
    for file in set(FOLDER.glob("*.json")) - set(written):
        file.unlink()
    for file, text in written.items():
        file.write_text(text, encoding="utf-8")
        print(file)


if __name__ == "__main__":
    main()
