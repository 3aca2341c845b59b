"""Runs a drill: waits until no alert fires, causes the fault, watches alerts and notifications, ends it, and waits."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from lab.alerts.active import active_alerts
from lab.alerts.drills.causes import caused
from lab.alerts.drills.definition import LONG_MEMORY, Cause, Drill, DrillError, seconds
from lab.alerts.tuning.truth import TOGETHER
from lab.clock import steady_clock
from lab.prometheus import Prometheus, PrometheusError, is_starting
from lab.settings import LabSettings
from lab.stack.events import FaultLog
from lab.stack.faults import Stack

ASK_SECONDS = 1.0
# how long Alertmanager may group a notification with others after the alert has fired
NOTIFICATION_SECONDS = 45.0
CALM_SECONDS = 420.0
# no alert may fire for this long before the fault is caused
QUIET_SECONDS = 30.0
HEALTH_SECONDS = 20.0
# parts that a stack may lack
OPTIONAL = frozenset({"grafana", "tempo", "loki"})
# the number of users' requests at the gateway, the failed ones among them, and the remaining availability budget
REQUESTS = 'sum(gateway_request_duration_seconds_count{kind=~"read|write"})'
FAILED = 'sum(gateway_request_duration_seconds_count{kind=~"read|write", status_class="5xx"})'
BUDGET = "slo:availability:error_budget_remaining"
# the alerts' rates are over one minute
SETTLE_SECONDS = 75.0


@dataclass(frozen=True)
class Level:
    """The service level so far: requests, failed requests, and the share of the error budget that is left."""

    requests: float = 0.0
    failed: float = 0.0
    budget: float | None = None


@dataclass
class Outcome:
    """The result of a drill.

    `calm` (since when no alert fired), `began` and `ended` are unix seconds. `fires` and `notified` are seconds after
    the fault began, `cleared` after it ended. `notified` is None if no notification arrived; `held` says that another
    alert inhibited it. `beside` are the other alerts that fired, `together` all alerts whose drills have this fault and
    were run together. `before` and `after` are the service level before the fault and after all alerts resolved.
    """

    alert: str
    kind: str = ""
    part: str = ""
    calm: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    fires: float | None = None
    notified: float | None = None
    held: bool = False
    cleared: float | None = None
    beside: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    together: list[str] = field(default_factory=list)
    before: Level | None = None
    after: Level | None = None
    skipped: str = ""

    @property
    def verdict(self) -> str:
        """`passed`, the reason why it was not run, or why it failed."""
        return self.skipped or "; ".join(self.wrong) or "passed"


def first_received(notifications: Sequence[Mapping[str, Any]], alert: str, before: int, calm: float) -> float:
    """When the inbox received the first notification of an alert, in unix seconds; 0 if it did not.

    `notifications` are the newest first. Those numbered up to `before` do not count, nor does an alert that has fired
    since before `calm`: one whose target is always absent is in every notification of its group.
    """
    for each in reversed(notifications):
        for item in each["message"]["alerts"]:
            began = datetime.fromisoformat(item["startsAt"]).timestamp()
            is_new = each["number"] > before and item["status"] == "firing" and began >= calm
            if is_new and item["labels"].get("alertname") == alert:
                return float(each["received"])
    return 0.0


@dataclass(frozen=True)
class DrillRunner:
    """Runs drills on one running stack. `say` receives progress messages."""

    stack: Stack
    settings: LabSettings
    prometheus: Prometheus
    log: FaultLog
    say: Callable[[str], None]
    absent: frozenset[str]
    """Jobs of optional parts that this stack does not have."""
    hold: float = 0.0
    """Minimum duration of every fault, in seconds."""
    now: Callable[[], float] = field(default_factory=steady_clock)
    """Unix seconds; not affected by changes of the system clock."""

    def why_not(self, drill: Drill) -> str:
        """The reason why this drill cannot be run here; empty if it can."""
        if drill.cannot:
            return f"cannot be caused: {drill.cannot}"
        if drill.only and drill.only != self.stack.way:
            return f"only with {drill.only}: {drill.why}"
        available = self.stack.parts()
        missing = [part for part in (drill.cause or Cause("load")).on(available).parts if part not in available]
        return f"this stack has no {', '.join(missing)}" if missing else ""

    def check(self) -> None:
        """Raises `DrillError` if the stack is not healthy, an alert is firing, or a fault is already active."""
        active = self.log.active()
        if active:
            raise DrillError(f"{active[0].part} already has a fault ({active[0].kind}): end it first")
        # the targets of a stack that has just been started are scraped within some seconds
        deadline = time.monotonic() + HEALTH_SECONDS
        while (down := self._down()) and time.monotonic() < deadline:
            time.sleep(ASK_SECONDS)
        if down:
            raise DrillError(f"the stack is not healthy, {down[0]} cannot be scraped: see `glasshouse status`")
        fired = sorted({name for name, _ in self._firing()})
        if fired:
            raise DrillError(f"already firing: {', '.join(fired)}; wait until it resolves, or see its runbook")

    def _down(self) -> list[str]:
        return [
            f"{each.labels['job']} ({each.labels['instance']})"
            for each in self.prometheus.query("up == 0")
            if each.labels["job"] not in self.absent
        ]

    def settle(self, rate: float) -> None:
        """Waits until the load fills the alerts' windows. Raises `DrillError`."""
        query = 'sum(rate(http_server_request_duration_seconds_count{http_route!~"/health.*"}[1m]))'
        self._wait(lambda: self.prometheus.value(query) > 0.7 * rate, SETTLE_SECONDS + 60, "the load to reach its rate")

    def run(self, drills: Mapping[str, Drill]) -> list[Outcome]:
        """Causes the common fault of these drills. Raises `DrillError` and `StackError` if it cannot be run."""
        causes = [each.cause for each in drills.values()]
        cause = causes[0]
        if cause is None or any(each != cause for each in causes):
            raise DrillError(f"{', '.join(drills)}: these drills have different faults")
        cause = cause.on(self.stack.parts())
        calm, before, names = self._await_calm(), self._newest(), sorted(drills)
        outcomes = [Outcome(name, cause.do, cause.part, calm=calm, together=names) for name in drills]
        seen: set[str] = set()
        level = self._level()
        with self.log.during(cause.part, cause.do, TOGETHER.join(names)):
            began = self.now()
            for outcome in outcomes:
                outcome.began = began
            self.say(f"{', '.join(names)}: {cause.do} {cause.part}")
            with caused(self.stack, cause, self.settings, self.say):
                while [
                    each for each in outcomes if not self._is_watched(each, drills[each.alert], before, seen)
                ] or self.now() < began + self.hold:
                    time.sleep(ASK_SECONDS)
                    seen |= {name for name, _ in self._firing()}
        ended = self.now()
        for outcome in outcomes:
            outcome.ended = ended
        while [each for each in outcomes if not self._is_over(each, drills[each.alert], seen)]:
            time.sleep(ASK_SECONDS)
        after = self._level()
        for outcome in outcomes:
            outcome.before, outcome.after = level, after
            outcome.beside = sorted(seen - {outcome.alert})
            _judge(outcome, drills)
        return outcomes

    def _await_calm(self) -> float:
        """Waits until no alert has fired for `QUIET_SECONDS`, and returns since when."""
        calm = self.now()
        deadline = calm + CALM_SECONDS
        self.say("waiting until no alert fires")
        while self.now() < calm + QUIET_SECONDS:
            if self._firing() or self._starting():
                calm = self.now()
            if calm > deadline:
                raise DrillError(f"alerts are still firing after {CALM_SECONDS:.0f} s: see `glasshouse alerts`")
            time.sleep(ASK_SECONDS)
        return calm

    def _starting(self) -> bool:
        """Whether the stack is still starting: alerts with a condition cannot fire before that ends."""
        with suppress(PrometheusError):
            return is_starting(self.prometheus)
        return True

    def _is_watched(self, outcome: Outcome, drill: Drill, before: int, seen: set[str]) -> bool:
        """Whether everything that this drill expects during the fault has happened, or is overdue."""
        passed = self.now() - outcome.began
        if outcome.fires is None:
            fired = self._firing()
            seen |= {name for name, _ in fired}
            if any(name == outcome.alert and drill.where in {"", *labels} for name, labels in fired):
                outcome.fires = passed
        if outcome.fires is None:
            return passed > seconds(drill.within)
        if outcome.notified is None:
            received = first_received(self._notifications(), outcome.alert, before, outcome.calm)
            outcome.notified = received - outcome.began if received else None
            outcome.held = outcome.notified is None and self._is_inhibited(outcome.alert)
        is_settled = outcome.notified is not None or outcome.held or passed > outcome.fires + NOTIFICATION_SECONDS
        return is_settled and ({*drill.with_it} <= seen or passed > seconds(drill.within))

    def _is_over(self, outcome: Outcome, drill: Drill, seen: set[str]) -> bool:
        """Whether the alert has resolved after the end of the fault, or is overdue."""
        passed = self.now() - outcome.ended
        if outcome.fires is not None and outcome.cleared is None:
            fired = {name for name, _ in self._firing()}
            seen |= fired
            if outcome.alert not in fired:
                outcome.cleared = passed
        return outcome.fires is None or outcome.cleared is not None or passed > seconds(drill.clears)

    def _firing(self) -> list[tuple[str, Sequence[str]]]:
        """Names and label values of the firing alerts; none if Prometheus does not answer."""
        with suppress(PrometheusError):
            return [
                (alert.name, list(alert.labels.values()))
                for alert in active_alerts(self.prometheus)
                if alert.state == "firing"
                and alert.name not in LONG_MEMORY
                and alert.labels.get("job") not in self.absent
            ]
        return []

    def _notifications(self) -> list[dict[str, Any]]:
        with suppress(httpx.HTTPError, ValueError, KeyError):
            answer = httpx.get(f"{self.settings.url('desk')}/inbox.json", timeout=2, trust_env=False)
            return list(answer.json()["notifications"])
        return []

    def _newest(self) -> int:
        return max((int(each["number"]) for each in self._notifications()), default=0)

    def _level(self) -> Level | None:
        with suppress(PrometheusError):
            requests, failed, budget = (self.prometheus.query(query) for query in (REQUESTS, FAILED, BUDGET))
            return Level(
                sum(each.value for each in requests),
                sum(each.value for each in failed),
                budget[0].value if budget else None,
            )
        return None

    def _is_inhibited(self, alert: str) -> bool:
        """Whether Alertmanager inhibits all instances of this alert because of another one."""
        with suppress(httpx.HTTPError, ValueError, KeyError):
            answer = httpx.get(
                f"{self.settings.url('alertmanager')}/api/v2/alerts",
                params={"filter": f'alertname="{alert}"'},
                timeout=2,
                trust_env=False,
            )
            found = answer.json()
            return bool(found) and all(each["status"]["inhibitedBy"] for each in found)
        return False

    def _wait(self, condition: Callable[[], bool], within: float, what: str) -> None:
        deadline = time.monotonic() + within
        self.say(f"waiting for {what}")
        while not condition():
            if time.monotonic() > deadline:
                raise DrillError(f"waited {within:.0f} s for {what}: see `glasshouse alerts`")
            time.sleep(ASK_SECONDS)


def _judge(outcome: Outcome, drills: Mapping[str, Drill]) -> None:
    drill = drills[outcome.alert]
    if outcome.fires is None:
        outcome.wrong.append(f"did not fire within {drill.within}")
    elif outcome.cleared is None:
        outcome.wrong.append(f"did not resolve within {drill.clears}")
    absent = sorted({*drill.with_it} - {*outcome.beside})
    if absent:
        outcome.wrong.append(f"{', '.join(absent)} did not fire with it")
    # drills that share a fault: every alert must fire, and an alert that may fire for one of them may fire
    expected = {*drills}.union(*(each.with_it + each.may for each in drills.values()))
    odd = sorted({*outcome.beside} - expected)
    if odd:
        outcome.wrong.append(f"{', '.join(odd)} fired too")
