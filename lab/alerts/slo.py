"""Service levels: recording rules and burn rate alerts, generated from one table of objectives and one period.

These are the "multiwindow, multi-burn-rate alerts" of the Site Reliability Workbook
(https://sre.google/workbook/alerting-on-slos/). An alert requires a high burn rate in a long window, so that it is
significant, and in a short one, so that it resolves soon after the cause is fixed. Windows are fractions of the period,
so an alert has the same meaning for every period: its threshold in alerts/thresholds.yml is the share of the budget
that has been spent when it fires.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

# the period of the error budget; Prometheus' retention must be longer (PROMETHEUS_RETENTION)
SLO_PERIOD = timedelta(days=3)
# a shorter window would contain too few scrapes for a rate
SHORTEST = timedelta(seconds=30)
# longer windows read many samples, so their rules are evaluated only once a minute
LONG = timedelta(hours=1)

GATEWAY = "gateway_request_duration_seconds"
REPLICAS = "http_server_request_duration_seconds"
FAST_SECONDS = "0.1"


@dataclass(frozen=True)
class Level:
    """A service level: the share `objective` of requests is good.

    `total` and `good` are PromQL for all requests and the good ones at the gateway, with WINDOW as the range;
    `replica_total` and `replica_good` are the same at the replicas. `bad` completes the phrase "requests …".
    """

    name: str
    title: str
    objective: float
    total: str
    good: str
    replica_total: str
    replica_good: str
    bad: str
    summary: str


@dataclass(frozen=True)
class Burn:
    """A pair of windows of one alert: the long one is the period divided by `part`, the short one a twelfth of that.

    At the burn rate `factor`, `share` of the budget is spent within the long window.
    """

    name: str
    part: int
    share: float

    @property
    def long(self) -> timedelta:
        """The long window."""
        return SLO_PERIOD / self.part

    @property
    def short(self) -> timedelta:
        """The short window."""
        return max(self.long / 12, SHORTEST)

    @property
    def factor(self) -> float:
        """The burn rate at which the alert fires: 1 spends exactly the budget within the period."""
        return self.share * self.part


def _increase(metric: str, *matchers: str) -> str:
    return f"sum(increase({metric}{{{', '.join(matchers)}}}[WINDOW]))"


CLIENTS = 'kind=~"read|write"'
NO_HEALTH = 'http_route!~"/health.*"'
# failed reads count for availability only: for latency they must not count as fast
READ = ('kind="read"', 'status_class!="5xx"')
REPLICA_READ = ('http_request_method=~"GET|HEAD"', NO_HEALTH, 'http_response_status_code!~"5.."')
LE = f'le="{FAST_SECONDS}"'

LEVELS = (
    Level(
        name="availability",
        title="Availability",
        objective=0.999,
        total=_increase(f"{GATEWAY}_count", CLIENTS),
        good=_increase(f"{GATEWAY}_count", CLIENTS, 'status_class!="5xx"'),
        replica_total=_increase(f"{REPLICAS}_count", NO_HEALTH),
        replica_good=_increase(f"{REPLICAS}_count", NO_HEALTH, 'http_response_status_code!~"5.."'),
        bad="answered 5xx by the gateway",
        summary="Failed requests spend the error budget too fast",
    ),
    Level(
        name="latency",
        title="Latency",
        objective=0.99,
        total=_increase(f"{GATEWAY}_count", *READ),
        good=_increase(f"{GATEWAY}_bucket", *READ, LE),
        replica_total=_increase(f"{REPLICAS}_count", *REPLICA_READ),
        replica_good=_increase(f"{REPLICAS}_bucket", *REPLICA_READ, LE),
        bad="for reading that took over 100 ms at the gateway",
        summary="Slow reads spend the latency budget too fast",
    ),
)
# for a period of 30 days the long windows would be 1 h, 6 h, 1 d and 3 d
BURNS = (
    Burn("Fast", 720, 0.02),
    Burn("Medium", 120, 0.05),
    Burn("Slow", 30, 0.1),
    Burn("VerySlow", 10, 0.1),
)


def promql(window: timedelta) -> str:
    """A duration in PromQL's notation, such as 7h12m."""
    left, text = round(window.total_seconds()), ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    return text


PERIOD = promql(SLO_PERIOD)


def recordings() -> list[dict[str, Any]]:
    """The groups of recording rules: requests, bad requests, error ratio and burn rate per window, and the budget."""
    windows = sorted({window for burn in BURNS for window in (burn.short, burn.long)} | {SLO_PERIOD})
    groups: list[dict[str, Any]] = []
    for level in LEVELS:
        short = [rule for window in windows if window <= LONG for rule in _recordings(level, window)]
        long = [rule for window in windows if window > LONG for rule in _recordings(level, window)]
        objective = {"record": f"slo:{level.name}:objective", "expr": f"vector({level.objective})"}
        groups.append({"name": f"slo-{level.name}", "rules": [objective, *short]})
        groups.append({"name": f"slo-{level.name}-long", "interval": "1m", "rules": [*long, _budget(level)]})
    return groups


def _recordings(level: Level, window: timedelta) -> Iterator[dict[str, str]]:
    name, slo = promql(window), f"slo:{level.name}"
    total, good = (promql_text.replace("WINDOW", name) for promql_text in (level.total, level.good))
    yield {"record": f"{slo}:requests:increase{name}", "expr": total}
    # extrapolation can make the difference of two increases slightly negative
    yield {"record": f"{slo}:bad_requests:increase{name}", "expr": f"clamp_min(\n  {total}\n    - {good},\n  0\n)"}
    yield {
        "record": f"{slo}:error_ratio_rate{name}",
        "expr": f"{slo}:bad_requests:increase{name} / ({slo}:requests:increase{name} > 0)",
    }
    yield {
        "record": f"{slo}:burn_rate{name}",
        "expr": f"{slo}:error_ratio_rate{name} / on () (1 - {slo}:objective)",
    }
    # Not over the whole period: with 100 replicas, evaluating three days of every replica's series takes 50 s.
    if window == BURNS[0].long:
        total, good = (text.replace("WINDOW", name) for text in (level.replica_total, level.replica_good))
        yield {
            "record": f"{slo}:replica_error_ratio_rate{name}",
            "expr": f"clamp_min(\n  1 - {good}\n    / ({total} > 0),\n  0\n)",
        }


def _budget(level: Level) -> dict[str, str]:
    """The remaining budget; negative if it is overspent."""
    return {"record": f"slo:{level.name}:error_budget_remaining", "expr": f"1 - slo:{level.name}:burn_rate{PERIOD}"}


def definition(level: Level, burn: Burn) -> dict[str, Any]:
    """A burn rate alert in the form of the catalog files (`lab.alerts.catalog.Definition`)."""
    slo, short, long = f"slo:{level.name}", promql(burn.short), promql(burn.long)
    return {
        # the lower of both burn rates; a window has no signal until it has filled once
        "signal": (
            f"(\n  ({slo}:burn_rate{long} < on () {slo}:burn_rate{short})\n"
            f"    or ({slo}:burn_rate{short} and on () {slo}:burn_rate{long})\n"
            f") / {burn.part}\n"
            f"  and on () {slo}:requests:increase{short} offset {short}"
        ),
        "events": f"{slo}:bad_requests:increase{long}",
        "unit": "ratio",
        "allowed": {"threshold": [0.001, 1], "floor": [1, 100000]},
        "summary": level.summary,
        "description": (
            f"Requests {level.bad}: at the burn rate of the last {short} and {long}, {{value}} of the error budget"
            f" of {PERIOD} is spent in {long}."
        ),
        "dashboard": "service-levels",
        "labels": {"slo": level.name},
        "runbook": f"{level.title}Burn",
    }


SLO_ALERTS: dict[str, Any] = {
    "part": "slo",
    "alerts": {
        **{f"{level.title}Burn{burn.name}": definition(level, burn) for level in LEVELS for burn in BURNS},
        "ServiceLevelsAbsent": {
            "condition": "(\n  "
            + "\n  or ".join(
                f"label_replace(absent(slo:{level.name}:requests:increase{promql(BURNS[0].long)}),"
                f' "slo", "{level.name}", "", "")'
                for level in LEVELS
            )
            + "\n) unless on () prometheus:starting == 1",
            "summary": "The service level {{ $labels.slo }} is not measured",
            "description": (
                "The gateway's requests for {{ $labels.slo }} are missing (absent is {{ $value }}):"
                " its budget and its alerts have no data."
            ),
            "dashboard": "service-levels",
        },
    },
}
