"""Service levels: the objectives, the remaining error budget, and the burn rates."""

from grafana_foundation_sdk.models.dashboard import Panel

from lab.alerts.slo import BURNS, LEVELS, PERIOD, Burn, Level, promql
from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.palette import BAD, BLUE, GOOD, GREEN, ORANGE, PURPLE, SKY, WARNING
from observability.dashboards.panels import NO_REQUESTS_YET, gauge, lines, number
from observability.dashboards.queries import Query, bound

LINES = (SKY, BLUE, ORANGE, PURPLE)
BUDGET_STEPS = ((0, BAD), (0.1, WARNING), (0.5, GOOD))
FAST = BURNS[0]
WINDOWS = dict(zip((promql(FAST.short), promql(FAST.long), promql(BURNS[-1].long), PERIOD), LINES, strict=True))


def _burn_rate(level: Level, window: str) -> str:
    return f"max(slo:{level.name}:burn_rate{window})"


def _summary(level: Level) -> list[Panel]:
    window = promql(FAST.long)
    return [
        number(
            f"{level.title} SLO",
            f"The objective: the share of requests that must not be {level.bad}. It is set in lab/alerts/slo.py.",
            "percentunit",
            f"max(slo:{level.name}:objective)",
            decimals=1,
            width=8,
        ),
        gauge(
            f"{level.title} budget",
            f"Share of the bad requests allowed in {PERIOD} that is still available. Below 10 %: no risky change;"
            " negative: overspent; n/a: no requests yet. While the gateway is down, GatewayDown fires and the budget"
            " stays as it is.",
            "percentunit",
            f"max(slo:{level.name}:error_budget_remaining)",
            most=1,
            steps=BUDGET_STEPS,
            width=8,
            # short, because Grafana fits the text into the arc
            before="n/a",
        ),
        number(
            f"{level.title} burn rate",
            f"Burn rate over {window}. 1 spends exactly the budget in {PERIOD}; good is under 1;"
            f" {FAST.factor:g} spends {FAST.share:.0%} of it in {window} and pages.",
            "none",
            _burn_rate(level, window),
            steps=((0, GOOD), (1, WARNING), (BURNS[1].factor, BAD)),
            decimals=1,
            width=8,
            before=NO_REQUESTS_YET,
        ),
    ]


def _budget(level: Level) -> Panel:
    return lines(
        f"{level.title} budget left",
        "A steep fall is an outage, a gentle slope a slow burn; below 0 % it is overspent. Below -100 % the line stays"
        " at -100 %, and the gauge above has the value: a few requests after a start can overspend it 100 times. While"
        " the gateway is down the budget does not fall, because no request is answered.",
        "percentunit",
        [Query(f"clamp_min(max(slo:{level.name}:error_budget_remaining), -1)", "left", GREEN)],
        most=1,
        has_negatives=True,
        before=NO_REQUESTS_YET,
        width=12,
    )


def _ratios(level: Level) -> Panel:
    return lines(
        f"{level.title} error ratio by window",
        f"Share of requests {level.bad} over each window, and the same measured at the replicas. The difference is the"
        " gateway's own responses, or the network between gateway and replicas.",
        "percentunit",
        [
            *(Query(f"max(slo:{level.name}:error_ratio_rate{w})", w, colour) for w, colour in WINDOWS.items()),
            Query(f"max(slo:{level.name}:replica_error_ratio_rate{promql(FAST.long)})", "replicas", GREEN),
            bound(f"max(1 - slo:{level.name}:objective)", "percentunit", "allowed"),
        ],
        width=12,
        before=NO_REQUESTS_YET,
    )


def _burn(level: Level, burn: Burn) -> Panel:
    alert, short, long = f"{level.title}Burn{burn.name}", promql(burn.short), promql(burn.long)
    return lines(
        f"{level.title} {short} / {long}",
        f"How fast the budget is spent; 1 spends exactly the budget in the period. {alert} fires if both lines are "
        "above the threshold; the short one shows that the fault still exists.",
        "none",
        [
            Query(_burn_rate(level, short), short, SKY),
            Query(_burn_rate(level, long), long, BLUE),
            bound(
                f'max(alert_threshold{{alert="{alert}"}} * {burn.part})',
                words="threshold",
                near=_burn_rate(level, short),
            ),
        ],
        width=6,
        before=NO_REQUESTS_YET,
    )


DASHBOARD = Dashboard(
    uid="service-levels",
    title="Service levels",
    description=(
        "At the gateway: 99.9 % of requests answered without 5xx, 99 % of reads under 100 ms; budget left, burn rates."
    ),
    rows=[
        Row("Now", [panel for level in LEVELS for panel in _summary(level)]),
        Row("Error budget", [_budget(level) for level in LEVELS]),
        Row("Error ratios", [_ratios(level) for level in LEVELS]),
        *(Row(f"Burn rate of {level.name}", [_burn(level, burn) for burn in BURNS]) for level in LEVELS),
    ],
)
