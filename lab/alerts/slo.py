"""Service levels, from one table of objectives and one period: their recording rules and their burn alerts.

The shape is that of the Site Reliability Workbook (https://sre.google/workbook/alerting-on-slos/, "multiwindow,
multi-burn-rate alerts"): an alert needs a fast enough burn in a long window, so that it matters, and in a short one,
so that it ends soon after its cause. Windows are parts of the period, so that an alert has the same meaning whatever
the period: the share of the budget that is spent when it fires, which is what alerts/thresholds.yml says.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

# for how long the budget is; Prometheus has to keep more than that (PROMETHEUS_RETENTION)
SLO_PERIOD = timedelta(days=3)
# a shorter window would hold too few scrapes to say a rate
SHORTEST = timedelta(seconds=30)
# windows from here on, which read much, are looked at once a minute
LONG = timedelta(hours=1)

GATEWAY = "gateway_request_duration_seconds"
REPLICAS = "http_server_request_duration_seconds"
FAST_SECONDS = "0.1"


@dataclass(frozen=True)
class Level:
    """A promise: the share `objective` of requests is good.

    `total` and `good` are PromQL of all requests and of the good ones, with WINDOW for the range, as the gateway
    answered them; `replica_total` and `replica_good` the same as the replicas count them. `bad` completes "requests …".
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
    """A pair of windows that alert together: the long one is the period's `part`th part, the short a twelfth of that.

    `share` of the budget is spent within the long window when the burn is `factor`.
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
        """How many times faster than evenly over the period the budget is spent."""
        return self.share * self.part


def _increase(metric: str, *matchers: str) -> str:
    return f"sum(increase({metric}{{{', '.join(matchers)}}}[WINDOW]))"


CLIENTS = 'kind=~"read|write"'
NO_HEALTH = 'http_route!~"/health.*"'
# a read that failed is availability's: it shall not count as a fast one for latency
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
        summary="Failed requests spend the error budget",
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
        summary="Slow reads spend the latency budget",
    ),
)
# of 30 days: 1 h, 6 h, 1 d and 3 d
BURNS = (
    Burn("Fast", 720, 0.02),
    Burn("Medium", 120, 0.05),
    Burn("Slow", 30, 0.1),
    Burn("VerySlow", 10, 0.1),
)


def promql(window: timedelta) -> str:
    """A duration in PromQL's words, such as 7h12m."""
    left, text = round(window.total_seconds()), ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    return text


PERIOD = promql(SLO_PERIOD)


def recordings() -> list[dict[str, Any]]:
    """The groups of recording rules: requests, bad ones, their ratio and the burn in each window, and the budget."""
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
    # extrapolation may take the difference of two increases a little below nothing
    yield {"record": f"{slo}:bad_requests:increase{name}", "expr": f"clamp_min(\n  {total}\n    - {good},\n  0\n)"}
    yield {
        "record": f"{slo}:error_ratio_rate{name}",
        "expr": f"{slo}:bad_requests:increase{name} / ({slo}:requests:increase{name} > 0)",
    }
    yield {
        "record": f"{slo}:burn_rate{name}",
        "expr": f"{slo}:error_ratio_rate{name} / on () (1 - {slo}:objective)",
    }
    # not over the period: three days of every replica's own series, each minute, are 50 s of work with 100 replicas
    if window == BURNS[0].long:
        total, good = (text.replace("WINDOW", name) for text in (level.replica_total, level.replica_good))
        yield {
            "record": f"{slo}:replica_error_ratio_rate{name}",
            "expr": f"clamp_min(\n  1 - {good}\n    / ({total} > 0),\n  0\n)",
        }


def _budget(level: Level) -> dict[str, str]:
    """What is left of the budget; below zero where more is spent than there was."""
    return {"record": f"slo:{level.name}:error_budget_remaining", "expr": f"1 - slo:{level.name}:burn_rate{PERIOD}"}


def definition(level: Level, burn: Burn) -> dict[str, Any]:
    """A burn alert as the catalog's files define theirs (`lab.alerts.catalog.Definition`)."""
    slo, short, long = f"slo:{level.name}", promql(burn.short), promql(burn.long)
    return {
        # the slower of both burns; and a window says nothing before it has filled once
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
            f"Requests {level.bad}: at the pace of the last {short} and {long}, {{value}} of the error budget"
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
                "The requests at the gateway that {{ $labels.slo }} is made of are absent (absent is {{ $value }}):"
                " its budget and its alerts are blind."
            ),
            "dashboard": "service-levels",
        },
    },
}
