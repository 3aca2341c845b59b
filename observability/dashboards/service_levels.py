"""Service levels: what was promised, what is left of the budget, and how fast it burns."""

from grafana_foundation_sdk.models.dashboard import Panel

from observability.dashboards.frame import Dashboard, Row
from observability.dashboards.palette import BAD, BLUE, GOOD, GREEN, ORANGE, PURPLE, SKY, WARNING
from observability.dashboards.panels import dial, lines, number
from observability.dashboards.queries import Query, bound, threshold

NOT_MEASURED = "not measured yet"
BUDGET_STEPS = ((0, BAD), (0.1, WARNING), (0.5, GOOD))
# short window, long window, severity: the pairs that alert together, from alerts/slo.yml
PAIRS = (("5m", "1h", "page"), ("30m", "6h", "page"), ("2h", "1d", "ticket"), ("6h", "3d", "ticket"))


def _burn_rate(level: str, window: str) -> str:
    return f"max(slo:{level}:error_ratio_rate{window} / on () (1 - slo:{level}:objective))"


def _summary(level: str, words: str, bad: str) -> list[Panel]:
    return [
        number(
            f"{words} SLO",
            f"What is promised: at most the rest may be {bad}. It is set in alerts/slo.yml.",
            "percentunit",
            f"max(slo:{level}:objective)",
            decimals=1,
            width=8,
        ),
        dial(
            f"{words} budget",
            f"Part of the requests that may be {bad} in three days that is unspent. Below 10 %: no risky change.",
            "percentunit",
            f"max(slo:{level}:error_budget_remaining)",
            most=1,
            steps=BUDGET_STEPS,
            width=8,
            before=NOT_MEASURED,
        ),
        number(
            f"{words} burn rate",
            "1 spends exactly the budget in its time; "
            "good is under 1, and 14.4 spends all of it in five hours and pages.",
            "none",
            _burn_rate(level, "1h"),
            steps=((0, GOOD), (1, WARNING), (6, BAD)),
            decimals=1,
            width=8,
            before=NOT_MEASURED,
        ),
    ]


def _budget(level: str, words: str) -> Panel:
    return lines(
        f"{words} budget left",
        "A steep fall is an outage, a slope a slow burn. The annotations say what happened then.",
        "percentunit",
        [Query(f"max(slo:{level}:error_budget_remaining)", "left", GREEN)],
        most=1,
        before=NOT_MEASURED,
        width=12,
    )


def _burn(level: str, words: str, alert: str) -> list[Panel]:
    return [
        lines(
            f"{words} burn, {short} and {long}",
            f"How fast the budget is spent. Both lines over the threshold: a {severity}; "
            "the short one shows that it goes on.",
            "none",
            [
                Query(_burn_rate(level, short), short, SKY),
                Query(_burn_rate(level, long), long, BLUE),
                threshold(alert, labels=f', window="{short}"', near=f"max({_burn_rate(level, short)})"),
            ],
            width=6,
            before=NOT_MEASURED,
        )
        for short, long, severity in PAIRS
    ]


AVAILABILITY, LATENCY = "Availability", "Latency"

DASHBOARD = Dashboard(
    uid="service-levels",
    title="Service levels",
    description="99.9 % of requests answered without 5xx, 99 % of reads under 100 ms: budget left and burn rates.",
    rows=[
        Row("Now", [*_summary("availability", AVAILABILITY, "5xx"), *_summary("latency", LATENCY, "over 100 ms")]),
        Row("Error budget", [_budget("availability", AVAILABILITY), _budget("latency", LATENCY)]),
        Row(
            "Error ratios",
            [
                lines(
                    f"{words} error ratio by window",
                    f"Share of {bad} over each window. The long ones forget slowly: a short outage stays in them.",
                    "percentunit",
                    [
                        Query(f"max(slo:{level}:error_ratio_rate{window})", window, colour)
                        for window, colour in (("5m", SKY), ("1h", BLUE), ("6h", ORANGE), ("3d", PURPLE))
                    ]
                    + [bound(f"max(1 - slo:{level}:objective)", "percentunit", "allowed")],
                    width=12,
                    before=NOT_MEASURED,
                )
                for level, words, bad in (
                    ("availability", AVAILABILITY, "requests answered 5xx"),
                    ("latency", LATENCY, "reads over 100 ms"),
                )
            ],
        ),
        Row("Burn rate of availability", _burn("availability", AVAILABILITY, "AvailabilityBurn")),
        Row("Burn rate of latency", _burn("latency", LATENCY, "LatencyBurn")),
    ],
)
