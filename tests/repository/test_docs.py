"""Pages with generated tables and names of panels agree with the code."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from lab.panels import load_dashboards
from service.settings import Settings, settings_table
from service.telemetry.metrics import METRICS, metrics_table


def test_the_settings_page_lists_every_setting_with_its_default(root: Path) -> None:
    page = (root / "docs/settings.md").read_text()
    _require(settings_table(), page)
    for each in fields(Settings):
        default = each.metadata["default"]
        assert f"| `{each.name.upper()}` | {f'`{default}`' if default else '(empty)'} |" in page


def test_the_telemetry_page_lists_every_metric(root: Path) -> None:
    page = (root / "docs/telemetry.md").read_text()
    _require(metrics_table(), page)
    for metric in METRICS:
        assert f"| `{metric.exposed_name}` | {metric.kind} |" in page


def test_no_link_in_the_docs_is_broken(root: Path) -> None:
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("alerts/**/*.md")]
    links = [
        (page, target.partition("#")[0])
        for page in pages
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
        if "://" not in target and not target.startswith("#")
    ]
    assert len(links) > 50
    assert [f"{page.name}: {target}" for page, target in links if not (page.parent / target).exists()] == []


def test_panel_names_in_italics_in_the_docs_exist_on_a_dashboard(root: Path) -> None:
    seen = {
        text
        for dashboard in load_dashboards()
        for panel in dashboard.panels
        for text in (panel.title, panel.row, *(target.legend for target in panel.targets))
    }
    pages = [root / "docs/tutorial.md", *root.glob("docs/dashboards/*-*.md")]
    named = [(page.name, name) for page in pages for name in re.findall(r"(?<!\*)\*([A-Z][^*\n]+)\*", _prose(page))]
    assert len(named) > 10
    assert [f"{page}: {name}" for page, name in named if name not in seen] == []


def _require(table: str, page: str) -> None:
    """Prints the table that the page lacks."""
    if table not in page:
        pytest.fail(f"the page has another table than:\n{table}", pytrace=False)


def _prose(page: Path) -> str:
    """A page without code and bold text."""
    return re.sub(r"```.*?```|`[^`]*`|\*\*[^*]*\*\*", "", page.read_text(), flags=re.DOTALL)
