"""`glasshouse check` on a running stack: no panel is blank, idle or under a load with errors."""

import re

import pytest

from lab.panels import load_dashboards
from testbed.conditions import wait_for
from tests.stack.stacks import DOCKER_IS_LONG, Stack

# and log panels, if a store keeps logs
PANELS = [
    sum(len(dashboard.panels_of(source)) for dashboard in load_dashboards() if not dashboard.parameters)
    for source in ("prometheus", "loki")
]


@pytest.fixture
def settled(stack: Stack) -> Stack:
    """A stack whose recording rules have run for a minute."""
    wait_for(
        lambda: stack.prometheus.query("count_over_time(replica:process_cpu:ratio_rate1m[2m]) > 12"),
        120,
        "a minute of recorded rates",
    )
    return stack


def assert_no_panel_is_blank(stack: Stack) -> None:
    done = stack.glasshouse("check", "--last", "1", "--slowest", "30")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert re.search(rf"(?:{PANELS[0]}|{sum(PANELS)}) panels, \d+ queries, 0 panels at fault", done.stdout)


@DOCKER_IS_LONG
def test_no_panel_is_blank_on_an_idle_stack(settled: Stack) -> None:
    assert_no_panel_is_blank(settled)


@DOCKER_IS_LONG
def test_a_load_is_answered_and_no_panel_is_blank_after_errors_and_a_restart(settled: Stack) -> None:
    load = settled.glasshouse("load", "smoke")
    # status 1: the service levels were missed, which depends on the machine's speed
    assert load.returncode in (0, 1), load.stdout + load.stderr
    assert re.search(r"offered 75 = answered 75 .* failed 0 \+ dropped 0", load.stdout), load.stdout
    for path, status in (("/tasks/not-a-task", {404, 422, 400}), ("/nowhere", {404})):
        assert settled.http.get(path).status_code in status
    settled.act("restart", "todo-3")
    wait_for(settled.is_scraped, 60, "the restarted replica")
    wait_for(
        lambda: settled.prometheus.value('time() - replica:process_start_time_seconds:max{replica="todo-3"}') > 12,
        60,
        "two scrapes of the restarted replica",
    )
    assert_no_panel_is_blank(settled)
