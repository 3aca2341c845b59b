"""The pages that list what the code has are held against it."""

from dataclasses import fields
from pathlib import Path

from service.settings import Settings, settings_table
from service.telemetry.metrics import METRICS, metrics_table


def test_the_settings_page_lists_every_setting_with_its_default(root: Path) -> None:
    page = (root / "docs/settings.md").read_text()
    for each in fields(Settings):
        default = each.metadata["default"]
        assert f"| `{each.name.upper()}` | {f'`{default}`' if default else '(empty)'} |" in page
    assert settings_table() in page


def test_the_telemetry_page_lists_every_metric(root: Path) -> None:
    page = (root / "docs/telemetry.md").read_text()
    for metric in METRICS:
        assert f"| `{metric.exposed_name}` | {metric.kind} |" in page
    assert metrics_table() in page
