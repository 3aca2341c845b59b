"""Every alert's cases, by promtool: when it fires, and above all when it does not."""

import shutil
from pathlib import Path

import pytest

from lab.alerts.catalog import load_alerts
from tests.alerts import bench

ALERTS = load_alerts()


@pytest.mark.parametrize("alert", [alert.name for alert in ALERTS])
def test_every_case_of_an_alert_comes_out_as_it_says(tmp_path: Path, alert: str) -> None:
    if not shutil.which("promtool"):
        pytest.skip("no promtool installed: lab/stack/install.sh")
    done = bench.run(tmp_path, alert, bench.rules_of(alert))
    assert done.returncode == 0, done.stdout + done.stderr
