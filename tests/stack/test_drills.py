"""Drills on the running stack: each alert fires, notifies and resolves, and no unexpected alert fires.

The drills are those of alerts/drills/; each prints its durations. Three dead Redis nodes are notified together.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab.alerts.active import active_alerts
from lab.alerts.tuning.backtest import episodes, trace
from lab.alerts.tuning.compared import compare, episodes_in_alerts
from lab.alerts.tuning.form import load_watched
from lab.alerts.tuning.recording import load
from lab.prometheus import PrometheusError, is_starting
from testbed.conditions import wait_for
from tests.stack.stacks import DOCKER_IS_LONG, Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1500)]

# run by `make test-all`; all drills take an hour: `glasshouse drill --all`. Those that use up an error budget are last:
# the next drill waits until no alert fires, and `AvailabilityBurnSlow` may fire for ten minutes
LONG = ("TargetDown", "ReplicaDown", "ReplicasMissing", "GatewayDown", "DatabaseDown")
INTERVAL_MS = 5000


@contextmanager
def steady_load(stack: Stack, folder: Path) -> Iterator[None]:
    """A load whose requests the stack's Prometheus counts."""
    load = stack.begin("load", "steady", "--rate", "10", "--time", "30m", "--runs", str(folder))
    try:
        wait_for(lambda: stack.prometheus.value("http:requests:rate1m") > 5, 120, "traffic")
        yield
    finally:
        load.terminate()
        load.wait(30)


def firing(stack: Stack) -> list[str]:
    """The names of the firing alerts, except for parts that this machine cannot run."""
    try:
        alerts = active_alerts(stack.prometheus)
    except PrometheusError:
        return []
    return [each.name for each in alerts if each.state == "firing" and each.labels.get("job") not in stack.absent_jobs]


def inbox(stack: Stack) -> list[dict[str, Any]]:
    """The notifications, newest first."""
    notifications: list[dict[str, Any]] = httpx.get(f"{stack.desk}/inbox.json", trust_env=False).json()["notifications"]
    return notifications


def wait_until_calm(stack: Stack) -> None:
    """Waits until no alert fires, and the stack has run so long that alerts on states no longer wait for its start."""

    def is_calm() -> bool:
        return not firing(stack) and not is_starting(stack.prometheus)

    try:
        wait_for(is_calm, 600, "a stack without firing alerts")
    except AssertionError as error:
        raise AssertionError(f"{error}; firing: {firing(stack)}") from None


def run_drills(stack: Stack, folder: Path, *alerts: str) -> None:
    """Runs drills, prints the results, and compares each recording's backtest with Prometheus' `ALERTS`."""
    wait_until_calm(stack)
    done = stack.glasshouse("drill", *alerts, "--runs", str(folder), timeout=1200)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    [record] = folder.glob("*/drills.json")
    assert [each["alert"] for each in json.loads(record.read_text())] == list(alerts)
    watched = load_watched()
    for name in alerts:
        recording = load(record.parent / f"drill-{name}.om.xz")
        traced = trace(recording, watched[name])
        assert traced is not None
        found = compare(episodes_in_alerts(recording, watched[name], INTERVAL_MS), episodes(traced))
        # alerts for parts that were never there fire all the time: they began before the recording
        changes = [each for each in found if each.labels.get("job") not in stack.absent_jobs]
        assert changes
        assert all(each.then and each.now and abs(each.seconds) <= INTERVAL_MS / 1000 for each in changes), changes


@DOCKER_IS_LONG
def test_the_alert_of_a_frozen_redis_node_fires_notifies_and_resolves(stack: Stack, tmp_path: Path) -> None:
    run_drills(stack, tmp_path, "RedisNodeDown")


@pytest.mark.long
def test_three_dead_nodes_are_notified_together(stack: Stack, tmp_path: Path) -> None:
    dead = ("redis-1", "redis-2", "redis-3")
    with steady_load(stack, tmp_path):
        wait_until_calm(stack)
        before = max((int(each["number"]) for each in inbox(stack)), default=0)

        def notifications() -> list[dict[str, Any]]:
            return [
                each["message"]
                for each in inbox(stack)
                if each["number"] > before
                and each["message"]["status"] == "firing"
                and each["message"]["groupLabels"].get("part") == "redis"
            ]

        def nodes(message: dict[str, Any]) -> set[str]:
            return {alert["labels"]["node"] for alert in message["alerts"] if "node" in alert["labels"]} & set(dead)

        try:
            with ThreadPoolExecutor() as pool:
                list(pool.map(stack.act, ["stop"] * len(dead), dead))
            # if the nodes stop one after the other, the group's next notification has those that were late
            wait_for(
                lambda: any(nodes(each) == set(dead) for each in notifications()), 120, "a notification of all nodes"
            )
            # its consequences (breaker, links, failover) have fired by now, and are inhibited
            wait_for(lambda: len(firing(stack)) > len(dead), 120, "more alerts than nodes")
            messages = notifications()
        finally:
            for node in dead:
                stack.act("start", node)
    print(f"three nodes stopped: {len(messages)} notification(s)")
    # another alert of the group is notified if a failover was late: uncovered slots
    names = {alert["labels"]["alertname"] for message in messages for alert in message["alerts"]}
    assert names <= {"RedisNodeDown", "RedisSlotsUncovered", "RedisClusterNotOk"}, messages


@pytest.mark.long
@pytest.mark.parametrize("alert", LONG)
def test_the_alert_of_a_drill_fires_notifies_and_resolves(stack: Stack, tmp_path: Path, alert: str) -> None:
    run_drills(stack, tmp_path, alert)


def test_a_reload_of_unchanged_rules_is_reported_as_such(stack: Stack) -> None:
    done = stack.glasshouse("reload")
    assert done.returncode == 0, done.stderr
    assert "no rule changed" in done.stdout
