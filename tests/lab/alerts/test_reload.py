"""`glasshouse reload` with a real Prometheus and Alertmanager: annotations, and rejected changes."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from lab.alerts import reload as reloading
from lab.alerts.rules import write_rules
from lab.alerts.thresholds import ALERTS, replace
from lab.prometheus import Prometheus
from lab.settings import LabSettings
from lab.stack.native import Home, alertmanager_config, prometheus_config
from observability.dashboards.frame import ANNOTATIONS
from testbed import Process, free_port, wait_for

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
STEP = 5


@dataclass(frozen=True)
class Alerting:
    """Both servers, and the folder of the alerts that they load."""

    prometheus: Prometheus
    settings: LabSettings
    alerts: Path
    home: Home

    def set_threshold(self, text: str) -> None:
        """Changes the threshold of LatencyP99High in thresholds.yml, without validation."""
        file = self.alerts / "thresholds.yml"
        file.write_text(replace(file.read_text(), "LatencyP99High", {"threshold": text}))

    def threshold(self) -> float:
        """The threshold in use; NaN if it is missing."""
        return self.prometheus.value('max(alert_threshold{alert="LatencyP99High"})')

    def rules(self) -> dict[str, str]:
        """The generated files."""
        return {file.name: file.read_text() for file in self.alerts.glob("rules/*.yml")}


@pytest.fixture
def alerting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Alerting]:
    """Both servers as the native stack runs them, with a copy of alerts/, and the command configured for them."""
    program = shutil.which("prometheus")
    if program is None or ALERTMANAGER is None:
        pytest.skip("no Prometheus or Alertmanager installed: lab/stack/install.sh")
    settings = LabSettings(prometheus_port=free_port(), alertmanager_port=free_port(), desk_port=free_port())
    home = Home(tmp_path / "home")
    home.config.mkdir(parents=True)
    alerts = Path(shutil.copytree(ALERTS, tmp_path / "alerts", ignore=shutil.ignore_patterns("tests", "runbooks")))
    config = home.config / "prometheus.yml"
    config.write_text(prometheus_config(settings, set()).replace(f"{ALERTS}/", f"{alerts}/"))
    (home.config / "alertmanager.yml").write_text(alertmanager_config(settings))
    put_in_force = reloading.put_in_force
    monkeypatch.setattr(reloading, "put_in_force", lambda settings: put_in_force(settings, alerts))
    monkeypatch.setattr(reloading, "load_settings", lambda: settings)
    monkeypatch.setattr(reloading, "check", lambda settings: None)
    monkeypatch.setattr(reloading, "HOME", home)
    monkeypatch.setattr(reloading.Supervisor, "is_running", lambda self: True)
    servers = [
        Process(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{settings.prometheus_port}",
                "--web.enable-lifecycle",
            ],
            tmp_path / "prometheus.log",
        ),
        Process(
            [
                ALERTMANAGER,
                f"--config.file={home.config / 'alertmanager.yml'}",
                f"--storage.path={tmp_path / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{settings.alertmanager_port}",
                "--cluster.listen-address=",
            ],
            tmp_path / "alertmanager.log",
        ),
    ]
    for server in servers:
        server.start()
    with Prometheus(settings.url("prometheus")) as prometheus:
        made = Alerting(prometheus, settings, alerts, home)
        try:
            wait_for(lambda: _is_ready(settings.url("prometheus")), 30, "Prometheus")
            wait_for(lambda: _is_ready(settings.url("alertmanager")), 30, "Alertmanager")
            wait_for(lambda: made.threshold() == 1, 30, "the threshold's first evaluation")
            yield made
        finally:
            for server in servers:
                server.stop()


def test_a_changed_threshold_is_in_force_and_annotated_with_old_and_new_value(alerting: Alerting) -> None:
    alerting.set_threshold("0.5")
    done = CliRunner().invoke(reloading.reload)
    assert done.exit_code == 0, done.output
    assert 'changed  alert_threshold{alert="LatencyP99High"}: 1 → 0.5' in done.output
    annotation = next(each for each in ANNOTATIONS if each.name == "Thresholds")
    query = annotation.expr.replace("$__interval", f"{STEP}s")

    def marks() -> list[tuple[str, str, str]]:
        found = alerting.prometheus.get("query", query=f"last_over_time(({query})[5m:{STEP}s])")["result"]
        return [(each["metric"]["alert"], each["metric"]["from"], each["metric"]["to"]) for each in found]

    wait_for(lambda: marks() == [("LatencyP99High", "1", "0.5")], 30, "the annotation")


@pytest.mark.parametrize("refuses", ["Prometheus", "Alertmanager"])
def test_if_either_server_rejects_the_reload_the_old_files_are_restored_and_in_force(
    alerting: Alerting, monkeypatch: pytest.MonkeyPatch, refuses: str
) -> None:
    rules, routes = alerting.rules(), (alerting.home.config / "alertmanager.yml").read_text()
    alerting.set_threshold("0.5")

    def write_broken_rules(folder: Path) -> None:
        write_rules(folder)
        (folder / "rules/new.yml").write_text("groups: [{name: a, rules: [{record: b, expr: 'sum('}]}]")

    if refuses == "Prometheus":
        monkeypatch.setattr(reloading, "write_rules", write_broken_rules)
    else:
        monkeypatch.setattr(reloading, "alertmanager_config", lambda settings: "route: {receiver: nobody}")
    done = CliRunner().invoke(reloading.reload)
    assert done.exit_code == 1
    assert f"glasshouse reload: {refuses} refused: " in done.stderr
    assert "the generated files were restored and are in force" in done.stderr
    assert alerting.rules() == rules
    assert (alerting.home.config / "alertmanager.yml").read_text() == routes
    assert alerting.threshold() == 1
    for name in ("prometheus", "alertmanager"):
        metrics = httpx.get(f"{alerting.settings.url(name)}/metrics", trust_env=False).text
        assert f"\n{name}_config_last_reload_successful 1\n" in metrics


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
