"""The backtest's `for`, `keep_firing_for` and label sets agree with `promtool test rules`."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.alerts.tuning.semantics import GRACE_MS, Activation, Timing, activations

STEP = 5


def _activations(pattern: str, timing: Timing, restarts: list[int] | None = None) -> list[Activation]:
    """The activations for evaluations 5 s apart: `x` has a result, `.` has none, ` ` was missed."""
    times = np.array([index * STEP * 1000 for index, each in enumerate(pattern) if each != " "], np.int64)
    active = np.array([each == "x" for each in pattern if each != " "])
    return activations(times, active, timing, None if restarts is None else np.array(restarts, np.int64))


def test_an_alert_fires_at_the_first_evaluation_after_its_for_has_passed() -> None:
    assert _activations(".xxxx.", Timing(hold=12_000)) == [Activation(5_000, 20_000, 25_000)]
    assert _activations(".xxx..", Timing(hold=12_000)) == [Activation(5_000, None, 20_000)]
    assert _activations(".x", Timing()) == [Activation(5_000, 5_000, None)]
    assert _activations("", Timing()) == []


def test_missing_evaluations_do_not_end_an_episode() -> None:
    assert _activations("x   x.", Timing(hold=20_000)) == [Activation(0, 20_000, 25_000)]


def test_a_restart_resets_pending_alerts_unless_their_for_is_long() -> None:
    assert _activations("xxx xxxx.", Timing(hold=10_000), [16_000]) == [
        Activation(0, 10_000, 20_000),
        Activation(20_000, 30_000, 40_000),
    ]
    long = "x" * 130 + " " + "x" * 10
    assert _activations(long, Timing(hold=GRACE_MS), [651_000]) == [Activation(0, GRACE_MS, None)]


series = st.lists(st.sampled_from("xx.."), min_size=1, max_size=40).map("".join)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cases=st.lists(
        st.tuples(
            st.lists(series, min_size=1, max_size=3),
            st.sampled_from([0, 3, 5, 10, 12, 25]),
            st.sampled_from([0, 0, 4, 5, 10, 20]),
        ),
        min_size=8,
        max_size=8,
    )
)
def test_every_evaluation_has_the_state_that_promtool_has(cases: list[tuple[list[str], int, int]]) -> None:
    groups, tests = [], []
    for number, (patterns, hold, keep) in enumerate(cases):
        rule = {"alert": f"X{number}", "expr": f"signal{number} > 1", "for": f"{hold}s", "keep_firing_for": f"{keep}s"}
        groups.append({"name": f"g{number}", "rules": [rule]})
        tests.append(_promtool_test(number, patterns, Timing(hold * 1000, keep * 1000)))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
        suite = {"rule_files": ["rules.yml"], "evaluation_interval": f"{STEP}s", "tests": tests}
        Path(folder, "tests.yml").write_text(yaml.safe_dump(suite))
        done = subprocess.run(
            ["promtool", "test", "rules", "tests.yml"], cwd=folder, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr


def _promtool_test(number: int, patterns: list[str], timing: Timing) -> dict[str, object]:
    """Series with stale gaps, and the state of each at each evaluation according to the backtest."""
    length = max(len(pattern) for pattern in patterns)
    patterns = [pattern.ljust(length, ".") for pattern in patterns]
    found = [_activations(pattern, timing) for pattern in patterns]
    checks = []
    for at in range(0, length * STEP, STEP):
        samples = [
            {"labels": f'ALERTS{{alertname="X{number}", alertstate="{state}", n="{which}"}}', "value": 1}
            for which, each in enumerate(found)
            if (state := _state(each, at * 1000))
        ]
        checks.append({"expr": f'ALERTS{{alertname="X{number}"}}', "eval_time": f"{at}s", "exp_samples": samples})
    return {
        "interval": f"{STEP}s",
        # half of the gaps are values below the threshold, the other half are stale
        "input_series": [
            {
                "series": f'signal{number}{{n="{which}"}}',
                "values": " ".join(
                    "2" if each == "x" else ("stale" if at % 2 else "0") for at, each in enumerate(pattern)
                ),
            }
            for which, pattern in enumerate(patterns)
        ],
        "promql_expr_test": checks,
    }


def _state(found: list[Activation], at: int) -> str:
    for each in found:
        if each.active <= at and (each.ended is None or at < each.ended):
            return "firing" if each.fired is not None and at >= each.fired else "pending"
    return ""
