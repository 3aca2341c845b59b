"""What an active alert holds back, asked of a real Alertmanager with the stack's own inhibitions."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from lab.alerts.catalog import load_alerts
from tests.servers.conditions import wait_for
from tests.servers.process import Process, free_port

LABELS: dict[str, Mapping[str, str]] = {each.name: {"alertname": each.name, **each.labels} for each in load_alerts()}
COMMAND = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@pytest.fixture
def alertmanager(tmp_path: Path, root: Path) -> Iterator[str]:
    """Its URL. It tells nobody."""
    if COMMAND is None:
        pytest.skip("no Alertmanager installed: lab/stack/install.sh")
    url = f"http://127.0.0.1:{free_port()}"
    text = (root / "observability/alertmanager/alertmanager.yml").read_text()
    config = tmp_path / "alertmanager.yml"
    # nothing listens on port 9 of this machine
    config.write_text(text.replace("http://desk:8060", "http://127.0.0.1:9"))
    process = Process(
        [
            COMMAND,
            f"--config.file={config}",
            f"--storage.path={tmp_path / 'data'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--cluster.listen-address=",
        ],
        tmp_path / "alertmanager.log",
    )

    def is_ready() -> bool:
        assert process.is_running, process.output()
        try:
            return httpx.get(f"{url}/-/ready", trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    process.start()
    wait_for(is_ready, 30, "Alertmanager")
    yield url
    process.stop()


def expect_held_back(url: str, alerts: Sequence[Mapping[str, str]], expected: set[str]) -> None:
    """Makes all of the alerts active, and waits until those expected, and no others, send nothing."""
    sent = httpx.post(f"{url}/api/v2/alerts", json=[{"labels": labels} for labels in alerts], trust_env=False)
    assert sent.status_code == httpx.codes.OK, sent.text

    def is_as_expected() -> bool:
        found = httpx.get(f"{url}/api/v2/alerts", trust_env=False).json()
        held = {alert["labels"]["alertname"] for alert in found if alert["status"]["state"] == "suppressed"}
        return len(found) == len(alerts) and held == expected

    wait_for(is_as_expected, 20, f"only {sorted(expected)} to be held back")


def test_a_page_about_users_holds_back_the_causes_but_no_telemetry(alertmanager: str) -> None:
    causes = {"DatabaseDown", "RedisNodeDown", "GatewayUpstreamErrors"}
    alerts = [LABELS[name] for name in ("ErrorRatioHigh", "TargetDown", *sorted(causes))]
    expect_held_back(alertmanager, alerts, causes)


def test_a_burn_page_which_outlasts_its_cause_does_not_hide_the_next_fault(alertmanager: str) -> None:
    alerts = [LABELS[name] for name in ("AvailabilityBurnFast", "RedisNodeDown", "AvailabilityBurnSlow")]
    expect_held_back(alertmanager, alerts, {"AvailabilityBurnSlow"})


def test_a_dead_redis_node_is_all_that_is_told_of_what_follows_from_it(alertmanager: str) -> None:
    breaker = ("RedisBreakerOpen", "CacheErrors", "CacheHitRatioLow", "RateLimitBypassed")
    cluster = ("RedisClusterNotOk", "RedisSlotsUncovered", "RedisReplicaLinkDown", "RedisFailover")
    node = {**LABELS["RedisNodeDown"], "node": "redis-1"}
    alerts = [node, *(LABELS[name] for name in breaker + cluster)]
    expect_held_back(alertmanager, alerts, {*breaker, *cluster})
