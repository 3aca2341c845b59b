"""Implements `glasshouse tune --shadow` and `--shadows`."""

import time

import click
import httpx
from rich.console import Console

from lab.alerts.tuning import shadow, since, tables
from lab.alerts.tuning.answers import ANSWER_SECONDS
from lab.alerts.tuning.compared import compare, episodes_in_alerts
from lab.alerts.tuning.corpus import place_of
from lab.alerts.tuning.form import Numbers, Watched
from lab.alerts.tuning.history import HistoryError, PrometheusHistory
from lab.alerts.tuning.judged import judge
from lab.prometheus import Prometheus
from lab.settings import load_settings

# the evaluation interval of the stack's rules
EVALUATION_MS = 5000


def run_shadow(
    watched: dict[str, Watched],
    chosen: Watched | None,
    threshold: float | None,
    floor: float | None,
    hold: int | None,
    milliseconds: int,
    url: str | None,
) -> None:
    """Starts a candidate as a shadow of the alert in force."""
    if chosen is None or chosen.turned(threshold, floor, hold) == watched[chosen.alert]:
        raise HistoryError("--shadow needs an alert and another value: --threshold, --floor or --for")
    candidate = chosen.turned(threshold, floor, hold)
    started = shadow.start(candidate, since.numbers(candidate), milliseconds / 1000)
    address = url or load_settings().url("prometheus")
    try:
        httpx.post(f"{address}/-/reload", timeout=10, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        raise HistoryError(f"the shadow was written, but {address} did not reload: {error}: `make reload`") from error
    ends = since.clock(round(started.ends * 1000))
    click.echo(f"{started.name} runs until {ends} UTC: {started.numbers}; compare with `glasshouse tune --shadows`")


def compare_shadows(console: Console, url: str | None) -> None:
    """Compares each shadow's episodes with those of the alert in force."""
    found = shadow.shadows()
    if not found:
        raise HistoryError("there are no shadows: `glasshouse tune ALERT --threshold N --shadow 1d` starts one")
    with Prometheus(url or load_settings().url("prometheus"), timeout=ANSWER_SECONDS) as prometheus:
        for each in found:
            place = place_of(PrometheusHistory(prometheus, each.began, min(each.ends, time.time())))
            before, after = (
                episodes_in_alerts(place.history, Watched(name, Numbers(None)), EVALUATION_MS)
                for name in (each.alert, each.name)
            )
            judged = judge(each.alert, [*before, *after], place.truth)
            verdicts = {id(one): verdict for one, verdict in judged.episodes}
            changes = compare(before, after)
            rows = [(each.name, one, verdicts.get(id(one.now or one.then), "")) for one in changes]
            state = "is running" if each.ends > time.time() else "has ended"
            click.echo(
                f"{each.alert}: {each.numbers} {state}; {len(before)} episodes in force, {len(after)} of the shadow"
            )
            if rows:
                console.print(tables.changes(rows))
