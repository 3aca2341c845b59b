"""A backtest of the alerts in force agrees with `ALERTS` of a real Prometheus."""

import random
import shutil
import time
from pathlib import Path

import pytest
import yaml

from lab.alerts.tuning import foreign, recording
from lab.alerts.tuning.backtest import Episode, episodes, trace
from lab.alerts.tuning.compared import Change, compare, episodes_in_alerts
from lab.alerts.tuning.form import Numbers, Watched
from lab.alerts.tuning.history import PrometheusHistory
from lab.alerts.tuning.semantics import Timing
from lab.prometheus import Prometheus
from testbed.conditions import wait_for
from testbed.expositions import Expositions
from testbed.prometheus import PrometheusServer

pytestmark = pytest.mark.skipif(not shutil.which("prometheus"), reason="Prometheus is not installed")

UNITS = 30
INTERVAL_MS = 1000
WATCHED = Watched("Loud", Numbers(threshold=5, floor=3, hold=2000))
EXPRESSION = (
    'alert_signal{alert="Loud"} > on (alert) group_left () alert_threshold'
    ' and on (unit) alert_events{alert="Loud"} >= on (alert) group_left () alert_floor'
)
# one group per rule, as in the stack, so that Prometheus evaluates each at a different offset
RULES = {
    "groups": [
        {
            "name": "numbers",
            "rules": [
                {"record": "alert_threshold", "expr": "vector(5)", "labels": {"alert": "Loud"}},
                {"record": "alert_floor", "expr": "vector(3)", "labels": {"alert": "Loud"}},
            ],
        },
        {
            "name": "signals",
            "rules": [
                {"record": "alert_signal", "expr": "raw_signal", "labels": {"alert": "Loud"}},
                {"record": "alert_events", "expr": "raw_events", "labels": {"alert": "Loud"}},
            ],
        },
        {
            "name": "alerts",
            "rules": [
                {
                    "alert": "Loud",
                    "expr": EXPRESSION,
                    "for": "2s",
                    "labels": {"severity": "ticket"},
                }
            ],
        },
    ]
}


def _page(began: float) -> bytes:
    """Units whose signal is above the threshold for a while, below it or absent, each in its own order.

    Some have too few events.
    """
    lines = []
    for unit in range(UNITS):
        chance = random.Random(unit)
        at, now = 0.0, time.time() - began
        while at <= now:
            kind = chance.choice(["loud", "loud", "few", "silent", "away"])
            at += chance.choice([1.0, 2.0, 3.5, 5.0])
        if kind != "away":
            lines.append(f'raw_signal{{unit="{unit}"}} {9 if kind in {"loud", "few"} else 1}')
            lines.append(f'raw_events{{unit="{unit}"}} {1 if kind == "few" else 3}')
    return ("\n".join(lines) + "\n").encode()


def test_a_backtest_of_twenty_episodes_agrees_with_prometheus(tmp_path: Path) -> None:
    began = time.time()
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump(RULES))
    with Expositions({"/metrics": lambda: _page(began)}) as pages:
        scrape = {"job_name": "units", "static_configs": [{"targets": [pages.address]}]}
        with PrometheusServer(tmp_path, [scrape], [rules]) as server, Prometheus(server.url) as prometheus:

            def ended() -> list[Episode]:
                history = PrometheusHistory(prometheus, began, time.time())
                return [each for each in episodes_in_alerts(history, WATCHED, INTERVAL_MS) if each.ended is not None]

            wait_for(lambda: len(ended()) >= 20, 90, "twenty episodes")
            history = PrometheusHistory(prometheus, began, time.time())
            truth = episodes_in_alerts(history, WATCHED, INTERVAL_MS)
            traced = trace(history, WATCHED)
            taken = recording.take(history, "units", "made by a test")
            rule = foreign.ForeignRule("Loud", EXPRESSION, Timing(hold=WATCHED.numbers.hold), INTERVAL_MS)
            evaluated = foreign.evaluate(rule, history)
    assert traced is not None
    _agree(truth, episodes(traced))
    # given thresholds have the same result as recorded ones
    assert episodes(traced) == episodes(traced, WATCHED.numbers)
    # a recording has the same result as the server
    recording.save(taken, tmp_path / "units.om.xz")
    again = trace(recording.load(tmp_path / "units.om.xz"), WATCHED)
    assert again is not None
    _agree(truth, episodes(again))
    # so has the expression itself, evaluated by the server at the rule's times, as for a foreign rule file
    _agree(truth, evaluated)


def _agree(truth: list[Episode], found: list[Episode]) -> None:
    changes = compare(truth, found)
    assert len(changes) >= 20
    wrong = [each for each in changes if not _is_within_one_evaluation(each)]
    assert not wrong, wrong


def _is_within_one_evaluation(change: Change) -> bool:
    then, now = change.then, change.now
    if then is None or now is None:
        # the history began or ended during the episode
        return (then or now).ended is None  # type: ignore[union-attr]
    if abs(then.fired - now.fired) > INTERVAL_MS:
        return False
    return None in (then.ended, now.ended) or abs(then.ended - now.ended) <= INTERVAL_MS  # type: ignore[operator]
