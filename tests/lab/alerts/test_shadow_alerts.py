"""A shadow is a separate rule that expires, is recorded, and sends no notifications."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from lab.alerts.tuning import shadow
from lab.alerts.tuning.command import tune
from lab.alerts.tuning.form import FormError, load_watched
from lab.alerts.tuning.history import HistoryError
from lab.settings import ROOT

ALERTS = load_watched()
CONFIG = ROOT / "observability/alertmanager/alertmanager.yml"


def test_a_shadow_is_the_candidate_with_its_numbers_until_its_end(tmp_path: Path) -> None:
    candidate = ALERTS["ErrorRatioHigh"].turned(threshold=0.02, floor=7, hold=20_000)
    started = shadow.start(candidate, "above 0.02", 3600, tmp_path)
    rule, drawn = yaml.safe_load((tmp_path / "ErrorRatioHigh.yml").read_text())["groups"][0]["rules"]
    assert (drawn["record"], drawn["labels"]) == ("shadow_threshold", {"alert": "ErrorRatioHigh"})
    assert drawn["expr"].startswith("vector(0.02) and")
    assert rule["alert"] == "ErrorRatioHighShadow"
    assert rule["labels"]["severity"] == "shadow"
    assert '> 0.02 and alert_events{alert="ErrorRatioHigh"} >= 7' in rule["expr"]
    assert f"vector(time()) < {started.ends:.0f}" in rule["expr"]
    assert rule["for"] == "20000ms"
    [read] = shadow.shadows(tmp_path)
    assert (read.alert, read.numbers) == ("ErrorRatioHigh", "above 0.02")
    assert abs(read.ends - started.ends) <= 1
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "rules", str(tmp_path / "ErrorRatioHigh.yml")], check=True)


def test_a_lower_is_worse_signal_is_compared_in_that_direction(tmp_path: Path) -> None:
    shadow.start(ALERTS["CacheHitRatioLow"].turned(threshold=0.4), "below 0.4", 60, tmp_path)
    assert '{alert="CacheHitRatioLow"} < 0.4' in (tmp_path / "CacheHitRatioLow.yml").read_text()


def test_an_alert_that_cannot_have_a_shadow_is_reported(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="has no threshold"):
        shadow.start(ALERTS["RedisNodeDown"].turned(hold=0), "", 60, tmp_path)
    (tmp_path / "X.yml").write_text("groups: []")
    with pytest.raises(FormError, match="is not a shadow rule: delete it"):
        shadow.shadows(tmp_path)
    for arguments, message in (
        (["ErrorRatioHigh", "--shadow", "1h"], "--shadow needs an alert and another value"),
        (["--shadow", "1h"], "--shadow needs an alert and another value"),
    ):
        done = CliRunner().invoke(tune, arguments)
        assert done.exit_code == 2
        assert message in done.stderr


def test_a_shadow_alert_notifies_nobody() -> None:
    routes = yaml.safe_load(CONFIG.read_text())["route"]["routes"]
    [route] = [each for each in routes if "severity = shadow" in each["matchers"]]
    [receiver] = [each for each in yaml.safe_load(CONFIG.read_text())["receivers"] if each["name"] == route["receiver"]]
    assert list(receiver) == ["name"]
    if shutil.which("amtool"):
        command = ["amtool", "config", "routes", "test", f"--config.file={CONFIG}", "severity=shadow", "part=service"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == route["receiver"]
