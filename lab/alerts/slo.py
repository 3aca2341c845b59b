"""Writes alerts/slo.yml: recording rules and burn-rate alerts, from one table of objectives and windows.

The shape is that of the Site Reliability Workbook (https://sre.google/workbook/alerting-on-slos/, "multiwindow,
multi-burn-rate alerts"): an alert needs a fast enough burn in a long window, so that it matters, and in a short one,
so that it ends soon after its cause. How fast is fast enough stands in alerts/thresholds.yml.
"""

from dataclasses import dataclass

from lab.settings import ROOT

FILE = ROOT / "alerts" / "slo.yml"
REQUESTS = "http_server_request_duration_seconds"
NO_HEALTH = 'http_route!~"/health.*"'


@dataclass(frozen=True)
class Level:
    """A promise: the share `objective` of the requests that `total` selects is good; `bad` counts the others.

    `total` and `bad` are PromQL with WINDOW for the range. `words` completes "the share of requests …".
    """

    name: str
    alert: str
    objective: float
    total: str
    bad: str
    words: str
    summary: str


@dataclass(frozen=True)
class Pair:
    """A short and a long window that alert together."""

    short: str
    long: str
    severity: str
    hold: str


LEVELS = (
    Level(
        name="availability",
        alert="AvailabilityBurn",
        objective=0.999,
        total=f"sum(increase({REQUESTS}_count{{{NO_HEALTH}}}[WINDOW]))",
        bad=f'sum(increase({REQUESTS}_count{{{NO_HEALTH}, http_response_status_code=~"5.."}}[WINDOW]))',
        words="answered 5xx",
        summary="Failed requests spend the error budget too fast",
    ),
    Level(
        name="latency",
        alert="LatencyBurn",
        objective=0.99,
        # a read that failed is availability's: it shall not count as a fast one here
        total=(
            f'sum(increase({REQUESTS}_count{{http_request_method="GET", {NO_HEALTH},'
            ' http_response_status_code!~"5.."}[WINDOW]))'
        ),
        bad=(
            f'sum(increase({REQUESTS}_count{{http_request_method="GET", {NO_HEALTH},'
            ' http_response_status_code!~"5.."}[WINDOW]))\n'
            f'- sum(increase({REQUESTS}_bucket{{http_request_method="GET", {NO_HEALTH},'
            ' http_response_status_code!~"5..", le="0.1"}[WINDOW]))'
        ),
        words="for reading that took over 100 ms",
        summary="Slow reads spend the latency budget too fast",
    ),
)
PAIRS = (
    Pair("5m", "1h", "page", "15s"),
    Pair("30m", "6h", "page", "1m"),
    Pair("2h", "1d", "ticket", "5m"),
    Pair("6h", "3d", "ticket", "15m"),
)
# the windows of pages are looked at with every evaluation, the long ones, which read far more, once a minute
WINDOWS = {"": ("5m", "30m", "1h", "6h"), "1m": ("2h", "1d", "3d")}
BUDGET_WINDOW = "3d"

HEAD = """\
# Service levels of the todo API. Objective, then the bad share in each window, then the alerts that burn the budget.
# Written by `python -m lab.alerts.slo` from the table in lab/alerts/slo.py; the burn rates that alert stand in
# thresholds.yml. With no traffic every share is 0. Health checks never count.
groups:
"""


def render() -> str:
    """The text of alerts/slo.yml."""
    parts = [HEAD]
    for level in LEVELS:
        for interval, windows in WINDOWS.items():
            parts.append(_recordings(level, interval, windows))
        parts.append(f"  - name: slo-{level.name}-alerts\n    rules:\n")
        parts.extend(_alert(level, pair) for pair in PAIRS)
    return "".join(parts).rstrip("\n") + "\n"


def _recordings(level: Level, interval: str, windows: tuple[str, ...]) -> str:
    slo = f"slo:{level.name}"
    text = f"  - name: slo-{level.name}{'-long' if interval else ''}\n"
    text += f"    interval: {interval}\n    rules:\n" if interval else "    rules:\n"
    if not interval:
        text += _recording(f"{slo}:objective", f"vector({level.objective})")
    for window in windows:
        text += _recording(f"{slo}:requests:increase{window}", f"{level.total.replace('WINDOW', window)}\nor vector(0)")
        bad = level.bad.replace("WINDOW", window)
        # extrapolation may take the difference of two increases a little below nothing
        bad = f"clamp_min(\n{_indent(bad, 2)},\n  0\n)" if "\n" in bad else bad
        text += _recording(f"{slo}:bad_requests:increase{window}", f"{bad}\nor vector(0)")
        text += _recording(
            f"{slo}:error_ratio_rate{window}",
            f"{slo}:bad_requests:increase{window} / ({slo}:requests:increase{window} > 0)\nor vector(0)",
        )
    if BUDGET_WINDOW in windows:
        text += _recording(
            f"{slo}:error_budget_remaining",
            f"clamp_min(1 - {slo}:error_ratio_rate{BUDGET_WINDOW} / on () (1 - {slo}:objective), 0)",
        )
    return text + "\n"


def _recording(name: str, expression: str) -> str:
    if "\n" not in expression:
        return f"      - record: {name}\n        expr: {expression}\n"
    return f"      - record: {name}\n        expr: |\n{_indent(expression, 10)}\n"


def _alert(level: Level, pair: Pair) -> str:
    slo = f"slo:{level.name}"
    threshold = f'alert_threshold{{alert="{level.alert}", window="{pair.short}"}}'

    def burns(window: str) -> str:
        return f"({slo}:error_ratio_rate{window} / on () (1 - {slo}:objective)) > on () {threshold}"

    floor = f'alert_floor{{alert="{level.alert}"}}'
    expression = "\n".join(
        (
            burns(pair.long),
            f"and on () {burns(pair.short)}",
            "# a handful of requests decides nothing, and a window says nothing before it has filled once",
            f"and on () {slo}:bad_requests:increase{pair.long} > on () {floor}",
            f"and on () {slo}:error_ratio_rate{pair.short} offset {pair.short}",
        )
    )
    return f"""\
      - alert: {level.alert}
        expr: |
{_indent(expression, 10)}
        for: {pair.hold}
        labels: {{severity: {pair.severity}, part: slo, window: {pair.short}}}
        annotations:
          summary: {level.summary}
          description: >-
            The share of requests {level.words} is {{{{ $value | humanize }}}} times the allowed over {pair.long},
            and still over {pair.short}.
          runbook: alerts/runbooks/{level.alert}.md
          dashboard: /d/service-levels

"""


def _indent(text: str, spaces: int) -> str:
    return "\n".join(" " * spaces + line for line in text.splitlines())


if __name__ == "__main__":
    FILE.write_text(render())
