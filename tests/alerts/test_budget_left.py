"""How much of the error budget is spent when each burn rate alert fires, with promtool, for two periods.

After a healthy period, a steady burn just above the alert's factor begins: the alert fires once its long window
contains only that burn. The traffic determines the budget of the period, and with it the share that the bad requests
have spent by then.
"""

import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lab.alerts import slo
from lab.alerts.slo import BURNS, LEVELS, Burn, Level, promql
from lab.alerts.thresholds import load_thresholds
from tests.alerts import promtool

# requests per step, and by how much the burn exceeds the factor
TRAFFIC, BEYOND = 10_000, 1.1
SPENT = {"Fast": 0.02, "Medium": 0.05, "Slow": 0.1, "VerySlow": 0.1}
LONGEST_STEP = timedelta(minutes=2)


@pytest.mark.parametrize("period", [timedelta(days=3), timedelta(days=10)], ids=promql)
@pytest.mark.parametrize("burn", BURNS, ids=lambda burn: burn.name)
@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_a_burn_alert_fires_when_its_share_of_the_budget_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: Level, burn: Burn, period: timedelta
) -> None:
    if not shutil.which("promtool"):
        pytest.skip("no promtool installed: lab/stack/install.sh")
    monkeypatch.setattr(slo, "SLO_PERIOD", period)
    alert, share = f"{level.title}Burn{burn.name}", SPENT[burn.name]
    step = timedelta(seconds=min(burn.short / 6, LONGEST_STEP) // timedelta(seconds=1))
    healthy, until_full = burn.long // step, burn.long / BEYOND // step
    hold = timedelta(seconds=load_thresholds()[alert].hold_seconds)
    fires = healthy + until_full + hold // step + 3
    bad = TRAFFIC * (1 - level.objective) * burn.factor * BEYOND

    firing = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    budget = TRAFFIC * (period / step) * (1 - level.objective)
    lost = f"({_bad_requests(level)}) / {budget:.10g}"
    # during the alert's `for`, no more is spent than the burn spends in that time
    most = share * BEYOND * (fires - healthy) * step / burn.long
    assert most < 1.35 * share
    case = {
        "name": f"{alert} fires when its share of the budget is spent",
        "interval": _text(step),
        "input_series": list(_traffic(level, bad, healthy, fires + 5)),
        "promql_expr_test": [
            {"expr": firing, "eval_time": _text((healthy + until_full * 0.9 // 1) * step), "exp_samples": []},
            _holds(f"count({firing})", fires * step),
            _holds(f"count({lost} >= {share * 0.98:.6g} <= {most * 1.02:.6g})", fires * step),
        ],
    }
    done = promtool.run(tmp_path, alert, _rules(alert, level, burn), [(_text(step), case)])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.case("outage")
def test_an_hour_in_which_only_the_gateway_answered_spends_the_budget(tmp_path: Path) -> None:
    if not shutil.which("promtool"):
        pytest.skip("no promtool installed: lab/stack/install.sh")
    # ten requests a minute; in the last hour the replicas do not exist, nor do their series
    before, outage = 71 * 60, 60
    gateway, replica = "gateway_request_duration_seconds_count", "http_server_request_duration_seconds_count"
    series = {
        f'{gateway}{{job="desk", kind="read", status_class="2xx"}}': f"0+10x{before} {10 * before}+0x{outage}",
        f'{gateway}{{job="desk", kind="read", status_class="5xx"}}': f"0x{before} 10+10x{outage}",
        f'{replica}{{job="todo", http_route="/tasks", http_response_status_code="200"}}': f"0+10x{before} stale",
    }
    remaining = "slo:availability:error_budget_remaining"
    # what the budget needs: nothing of the shorter windows
    needed = re.compile(rf"slo:availability:.*(objective|{promql(slo.SLO_PERIOD)}|remaining)")
    rules = [
        {**group, "rules": kept}
        for group in slo.recordings()
        if (kept := [rule for rule in group["rules"] if needed.fullmatch(rule["record"])])
    ]
    case = {
        "name": "an outage",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            _holds(f"count({remaining} > 0.99)", timedelta(minutes=before - 1)),
            # 600 of 43,200 failed; the objective allows 43
            _holds(f"count({remaining} < -12 > -14)", timedelta(minutes=before + outage)),
        ],
    }
    done = promtool.run(tmp_path, "outage", rules, [("1m", case)])
    assert done.returncode == 0, done.stdout + done.stderr


def _rules(alert: str, level: Level, burn: Burn) -> list[dict[str, Any]]:
    """The rules of one alert, generated for the current period."""
    tuning, definition = load_thresholds()[alert], slo.definition(level, burn)
    windows = (promql(burn.short), promql(burn.long))
    recorded = [
        rule
        for group in slo.recordings()
        for rule in group["rules"]
        if rule["record"] == f"slo:{level.name}:objective"
        or (rule["record"].startswith(f"slo:{level.name}:") and rule["record"].endswith(windows))
    ]
    own = {"alert": alert}
    numbers = [
        {"record": "alert_threshold", "expr": str(tuning.threshold), "labels": own},
        {"record": "alert_floor", "expr": str(tuning.floor), "labels": own},
        {"record": "alert_signal", "expr": definition["signal"], "labels": own},
        {"record": "alert_events", "expr": definition["events"], "labels": own},
    ]
    rule = next(rule for group in promtool.rules_of(alert) for rule in group["rules"] if rule.get("alert") == alert)
    return [{"name": alert, "rules": [*recorded, *numbers, rule]}]


def _traffic(level: Level, bad: float, healthy: int, steps: int) -> list[dict[str, str]]:
    """Counters of the gateway: healthy traffic, then a constant share of bad requests."""
    burning, good = int(steps - healthy), TRAFFIC - bad
    before = healthy * TRAFFIC

    def series(name: str, labels: str, values: str) -> dict[str, str]:
        return {"series": f'gateway_request_duration_seconds_{name}{{kind="read", {labels}}}', "values": values}

    good_values = f"0+{TRAFFIC}x{healthy} {before + good:.10g}+{good:.10g}x{burning}"
    bad_values = f"0x{healthy} {bad:.10g}+{bad:.10g}x{burning}"
    if level.name == "availability":
        return [
            series("count", 'status_class="2xx"', good_values),
            series("count", 'status_class="5xx"', bad_values),
        ]
    return [
        series("count", 'status_class="2xx"', f"0+{TRAFFIC}x{healthy + burning + 1}"),
        series("bucket", 'status_class="2xx", le="0.1"', good_values),
    ]


def _bad_requests(level: Level) -> str:
    """All bad requests since the start, from the counters themselves."""
    if level.name == "availability":
        return 'sum(gateway_request_duration_seconds_count{status_class="5xx"})'
    return "sum(gateway_request_duration_seconds_count) - sum(gateway_request_duration_seconds_bucket)"


def _holds(promql_text: str, at: timedelta) -> dict[str, Any]:
    return {"expr": promql_text, "eval_time": _text(at), "exp_samples": [{"labels": "{}", "value": 1}]}


def _text(duration: timedelta) -> str:
    return f"{round(duration.total_seconds())}s"
