"""Which alerts an active alert inhibits, with a real Alertmanager and the stack's inhibitions."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest
import yaml

from lab.alerts.catalog import load_alerts
from testbed.conditions import wait_for
from testbed.process import Process, free_port

LABELS: dict[str, Mapping[str, str]] = {each.name: {"alertname": each.name, **each.labels} for each in load_alerts()}
COMMAND = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@pytest.fixture
def alertmanager(tmp_path: Path, root: Path) -> Iterator[str]:
    """The URL of an Alertmanager whose receivers send nothing."""
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


def hold(url: str, alerts: Sequence[Mapping[str, str]]) -> None:
    """Posts all of these alerts as active."""
    sent = httpx.post(f"{url}/api/v2/alerts", json=[{"labels": labels} for labels in alerts], trust_env=False)
    assert sent.status_code == httpx.codes.OK, sent.text


def expect_held_back(url: str, alerts: Sequence[Mapping[str, str]], expected: Sequence[Mapping[str, str]]) -> None:
    """Posts all of these alerts as active, and waits until the expected ones, and no others, are inhibited."""
    hold(url, alerts)

    def is_as_expected() -> bool:
        found = httpx.get(f"{url}/api/v2/alerts", trust_env=False).json()
        held = [alert["labels"] for alert in found if alert["status"]["inhibitedBy"]]
        key = lambda labels: sorted(labels.items())  # noqa: E731 (what two lists are compared by)
        return len(found) == len(alerts) and sorted(held, key=key) == sorted(expected, key=key)

    wait_for(is_as_expected, 20, f"only {[each['alertname'] for each in expected]} to be held back")


def labels(*names: str) -> list[Mapping[str, str]]:
    """The labels of these alerts."""
    return [LABELS[name] for name in names]


def test_a_page_about_users_inhibits_no_ticket(alertmanager: str) -> None:
    pages = labels("ErrorRatioHigh", "LatencyP99High", "AvailabilityBurnFast")
    causes = labels("DatabaseDown", "RedisNodeDown", "GatewayUpstreamErrors", "TargetDown", "CPUThrottled")
    expect_held_back(alertmanager, [*pages, *causes], [])


def test_a_silence_on_a_page_mutes_nothing_else(alertmanager: str) -> None:
    silence = {
        "matchers": [{"name": "alertname", "value": "LatencyP99High", "isRegex": False, "isEqual": True}],
        "startsAt": "2020-01-01T00:00:00Z",
        "endsAt": "2099-01-01T00:00:00Z",
        "createdBy": "test",
        "comment": "known",
    }
    done = httpx.post(f"{alertmanager}/api/v2/silences", json=silence, trust_env=False)
    assert done.status_code == httpx.codes.OK, done.text
    tickets = [each for each in LABELS.values() if each["severity"] == "ticket"]
    muted = {"LatencyP99High"}
    everything = [LABELS["LatencyP99High"], *(each for each in tickets if each["alertname"] not in FOLLOWS)]
    hold(alertmanager, everything)

    def is_as_expected() -> bool:
        found = httpx.get(f"{alertmanager}/api/v2/alerts", trust_env=False).json()
        quiet = {alert["labels"]["alertname"] for alert in found if alert["status"]["state"] == "suppressed"}
        return len(found) == len(everything) and quiet == muted

    wait_for(is_as_expected, 20, "nothing but the silenced page to be muted")


# tickets that another ticket explains
FOLLOWS = {
    *("RedisBreakerOpen", "RedisClusterNotOk", "RedisSlotsUncovered", "RedisReplicaLinkDown", "RedisFailover"),
    *("CacheErrors", "CacheHitRatioLow", "RateLimitBypassed", "ServiceLevelsAbsent", "ScrapeSlow"),
    *("DatabaseBreakerOpen", "DatabaseSlow", "DatabasePoolExhausted", "DatabaseConnectionsNearLimit"),
    *("RequestsNearBound", "EventLoopLagHigh", "CPUThrottled", "MemoryNearLimit"),
    *("AvailabilityBurnVerySlow", "LatencyBurnVerySlow"),
}


def test_a_replica_that_is_down_inhibits_only_its_own_tickets(alertmanager: str) -> None:
    down = {**LABELS["ReplicaDown"], "instance": "a"}
    own, other = ({**LABELS["EventLoopLagHigh"], "instance": instance} for instance in "ab")
    alerts = [down, own, other, *labels("ReplicasMissing", "ReplicaImbalance", "GatewayUpstreamErrors")]
    expect_held_back(alertmanager, alerts, [own])


def test_a_burn_alert_inhibits_slower_ones_of_its_own_service_level_only(alertmanager: str) -> None:
    slower = labels("AvailabilityBurnMedium", "AvailabilityBurnSlow", "AvailabilityBurnVerySlow")
    alerts = labels("AvailabilityBurnFast", "RedisNodeDown", "LatencyBurnSlow")
    expect_held_back(alertmanager, [*alerts, *slower], slower)


def test_a_dead_redis_node_inhibits_its_consequences(alertmanager: str) -> None:
    breaker = ("RedisBreakerOpen", "CacheErrors", "CacheHitRatioLow", "RateLimitBypassed")
    cluster = ("RedisClusterNotOk", "RedisSlotsUncovered", "RedisReplicaLinkDown", "RedisFailover")
    node = {**LABELS["RedisNodeDown"], "node": "redis-1"}
    followers = labels(*breaker, *cluster)
    expect_held_back(alertmanager, [node, LABELS["RedisMemoryNearLimit"], *followers], followers)


def test_no_inhibition_is_by_severity_alone(root: Path) -> None:
    text = (root / "observability/alertmanager/alertmanager.yml").read_text()
    for rule in yaml.safe_load(text)["inhibit_rules"]:
        for side in ("source_matchers", "target_matchers"):
            assert any(matcher.startswith("alertname =") for matcher in rule[side]), rule
            assert not any("severity" in matcher for matcher in rule[side]), rule
