"""The cases of every alert with promtool: when it fires, and when it does not."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lab.alerts.catalog import load_alerts
from lab.settings import ROOT
from tests.alerts import promtool
from tests.docker import require_docker

ALERTS = load_alerts()


@pytest.mark.parametrize("alert", [alert.name for alert in ALERTS])
def test_every_case_of_an_alert_has_its_stated_result(tmp_path: Path, alert: str) -> None:
    if not shutil.which("promtool"):
        pytest.skip("no promtool installed: lab/stack/install.sh")
    done = promtool.run(tmp_path, alert, promtool.rules_of(alert))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.docker
def test_every_case_has_the_same_result_with_the_promtool_of_the_composed_image(tmp_path: Path) -> None:
    words = (ROOT / "compose.yaml").read_text().split()
    image = next(word for word in words if word.startswith("prom/prometheus:"))
    require_docker(image)
    for alert in ALERTS:
        promtool.write(tmp_path / alert.name, alert.name, promtool.rules_of(alert.name))
    test = "cd $each && promtool test rules cases-*.yml >/tmp/said 2>&1"
    script = f"for each in *; do ({test}) || {{ echo $each; cat /tmp/said; }}; done"
    # root, since only the owner can read pytest's folders
    # with few CPU shares, since the stack in Docker runs at the same time
    run = ["docker", "run", "--rm", "--cpu-shares", "128", "--user", "0", "--network", "none", "-w", "/cases"]
    done = subprocess.run(
        [*run, "-v", f"{tmp_path}:/cases:ro", "--entrypoint", "sh", image, "-c", script],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("record", ["alert_threshold", "alert_floor"])
def test_every_single_missing_threshold_or_floor_is_reported(tmp_path: Path, record: str) -> None:
    rules = promtool.rules_of("ThresholdsMissing")
    numbers = next(group["rules"] for group in rules if any("record" in rule for rule in group["rules"]))
    numbers.remove(next(rule for rule in numbers if rule.get("record") == record))
    firing = 'ALERTS{alertname="ThresholdsMissing", alertstate="firing"}'
    case = {
        "name": "ThresholdsMissing fires when one is missing for the time of its `for`",
        "interval": "5s",
        "promql_expr_test": [
            {"expr": firing, "eval_time": "15s", "exp_samples": []},
            {"expr": f"count({firing})", "eval_time": "30s", "exp_samples": [{"labels": "{}", "value": 1}]},
        ],
    }
    done = promtool.run(tmp_path, "ThresholdsMissing", rules, [("5s", case)])
    assert done.returncode == 0, done.stdout + done.stderr
