"""The output of `glasshouse tune`: scores, a comparison with a candidate, a proposal, a review."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import httpx
import msgspec
from rich.console import Console
from rich.progress import track

from lab.alerts.tuning import foreign, since, tables
from lab.alerts.tuning.backtest import episodes
from lab.alerts.tuning.compared import Change, compare
from lab.alerts.tuning.corpus import Place, backtest, read_corpus
from lab.alerts.tuning.form import Watched
from lab.alerts.tuning.history import HistoryError, PrometheusHistory
from lab.alerts.tuning.judged import judge
from lab.alerts.tuning.propose import plot, propose
from lab.alerts.tuning.truth import Expected, Truth, faults_of
from lab.prometheus import Prometheus
from lab.settings import load_settings

# timeout of a query over many hours
ANSWER_SECONDS = 60.0
NO_HISTORY = "is there history in that time? Use a longer --last, or wait until rules have been evaluated"
# alert → verdict (useful, noise) → number of notifications
Verdicts = dict[str, dict[str, int]]


def verdicts() -> Verdicts:
    """People's verdicts on notifications, from the local stack's alert inbox; empty if it does not answer."""
    try:
        answer = httpx.get(f"{load_settings().url('desk')}/verdicts.json", timeout=2, trust_env=False)
        return msgspec.json.decode(answer.raise_for_status().content, type=Verdicts)
    except (httpx.HTTPError, ValueError, RecursionError):
        return {}


def everything(
    console: Console, watched: Iterable[Watched], places: Sequence[Place], strict: bool, said: Verdicts
) -> None:
    """One row per alert; if `strict`, only alerts with errors, and raises `SystemExit` if there are any."""
    alerts = [each for each in watched if each.severity != "none"]
    shown = track(alerts, "Backtest", console=console, transient=True, disable=not console.is_terminal)
    found = [backtest(each, places, None) for each in shown]
    wrong = [each for each in found if each.score.missed or each.score.false]
    shown_rows = wrong if strict else found
    if shown_rows:
        console.print(tables.scores(shown_rows, said))
    click.echo(tables.totals(found))
    if strict and wrong:
        raise SystemExit(1)


def candidate(console: Console, then: Watched, now: Watched, places: Sequence[Place]) -> None:
    """Compares a candidate with the alert in force, episode by episode; without a candidate, lists the episodes."""
    given = now.numbers if now != then else None
    rows: list[tuple[str, Change, str]] = []
    for place in places:
        traced = place.trace(then)
        if traced is None:
            continue
        before = episodes(traced, place.numbers(then))
        after = episodes(traced, given or place.numbers(then))
        verdicts = {id(one): verdict for one, verdict in judge(then.alert, [*before, *after], place.truth).episodes}
        for change in compare(before, after):
            episode = change.now or change.then
            rows.append((place.history.name, change, verdicts.get(id(episode), "")))
    tested = [backtest(then, places, None)]
    if not tested[0].by_place:
        raise HistoryError(f"{then.alert} was never evaluated: {NO_HISTORY}")
    tested += [backtest(now, places, given)] if given else []
    console.print(tables.changes(rows) if rows else "no episode, neither before nor after")
    console.print(tables.scores(tested))


def proposal(console: Console, watched: Watched, places: Sequence[Place]) -> None:
    """The trade-off between an alert's values, and the proposed ones."""
    proposal = propose(watched, places)
    console.print(tables.tradeoff(proposal))
    for line in plot(proposal):
        click.echo(line)
    click.echo(f"{watched.alert}: {since.numbers(proposal.chosen.watched)}, because it {proposal.reason}")


def review(watched: dict[str, Watched], ref: str, corpus: Path, allow_false: int) -> None:
    """The effect of changes to thresholds.yml since a commit. Raises `SystemExit` if an alert becomes worse."""
    before = since.written_at(ref)
    places = read_corpus(corpus)
    found = since.turned(before, watched, places)
    for line in since.markdown(found, ref, len(places), allow_false):
        click.echo(line)
    if any(each.is_worse(allow_false) for each in found):
        raise SystemExit(1)


def foreign_rule(
    console: Console,
    file: Path,
    alert: str | None,
    replacements: Sequence[str],
    url: str | None,
    last: int,
    interval: int | None,
) -> None:
    """Compares a rule of any rule file with a modified version of it."""
    if not alert:
        raise HistoryError("--rules needs the name of an alert: --alert NAME")
    then = foreign.load_rule(file, alert)
    if interval:
        then = foreign.ForeignRule(then.alert, then.expression, then.timing, interval)
    now = then
    for text in replacements:
        now = now.replaced(*foreign.split_replacement(text))
    with Prometheus(url or load_settings().url("prometheus"), timeout=ANSWER_SECONDS) as prometheus:
        end = time.time()
        history = PrometheusHistory(prometheus, end - last / 1000, end)
        before, after = (foreign.evaluate(rule, history) for rule in (then, now))
        # no drill describes this rule, so any fault that the lab caused may have fired it
        truth = Truth([(fault, Expected(may=frozenset({alert}))) for fault in faults_of(history)])
        verdicts = {id(one): verdict for one, verdict in judge(alert, [*before, *after], truth).episodes}
    changes = compare(before, after)
    rows = [(history.name, each, verdicts.get(id(each.now or each.then), "")) for each in changes]
    console.print(tables.changes(rows) if rows else f"no episode, neither before nor after: {NO_HISTORY}")
    click.echo(f"{alert}: {len(before)} episodes as it is, {len(after)} with the replacement")
