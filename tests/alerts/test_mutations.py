"""Every mutation of a rule fails a case."""

import shutil
from pathlib import Path

import pytest

from lab.alerts.catalog import load_alerts
from tests.alerts import promtool
from tests.alerts.mutations import mutations, readers, recording_mutations

# the first always fires, and test_cases.py tests the second
APART = {"DeadMansSwitch", "ThresholdsMissing"}
# the stacks of the drills, which run at the same time, must not lack CPU time
NICENESS = 10


@pytest.mark.long
@pytest.mark.parametrize("alert", [alert.name for alert in load_alerts() if alert.name not in APART])
def test_a_broken_rule_fails_a_case(tmp_path: Path, alert: str) -> None:
    if not shutil.which("promtool"):
        pytest.skip("no promtool installed: lab/stack/install.sh")
    broken = list(mutations(alert))
    assert len(broken) >= 2
    unnoticed = [
        what
        for number, (what, rules) in enumerate(broken)
        if promtool.run(tmp_path / str(number), alert, rules, niceness=NICENESS).returncode == 0
    ]
    assert not unnoticed, "no case fails for: " + "; ".join(unnoticed)


@pytest.mark.long
@pytest.mark.parametrize("record", readers())
def test_a_broken_recording_fails_a_case_of_an_alert_that_reads_it(tmp_path: Path, record: str) -> None:
    if not shutil.which("promtool"):
        pytest.skip("no promtool installed: lab/stack/install.sh")
    noticed: dict[str, bool] = {}
    for alert in readers()[record]:
        for number, (what, rules) in enumerate(recording_mutations(record, alert)):
            if not noticed.get(what):
                done = promtool.run(tmp_path / f"{alert}-{number}", alert, rules, niceness=NICENESS)
                noticed[what] = done.returncode != 0
    assert noticed
    assert all(noticed.values()), "no case fails for: " + "; ".join(what for what in noticed if not noticed[what])


@pytest.mark.parametrize("alert", ["ErrorRatioHigh", "NoTraffic"])
def test_a_reversed_comparison_fails_a_case(tmp_path: Path, alert: str) -> None:
    turned = [rules for what, rules in mutations(alert) if what.startswith(("rule: >", "rule: <"))]
    assert turned
    for number, rules in enumerate(turned):
        assert promtool.run(tmp_path / str(number), alert, rules).returncode == 1
