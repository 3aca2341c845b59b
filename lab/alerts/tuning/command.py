"""`glasshouse tune`: what alerts did, what they would do with other numbers, and which numbers to take."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console

from lab.alerts.drills.definition import DrillError
from lab.alerts.tuning import answers, shadow_answers
from lab.alerts.tuning.answers import ANSWER_SECONDS
from lab.alerts.tuning.corpus import CORPUS, Place, known, names, place_of, read_corpus
from lab.alerts.tuning.form import FormError, duration, load_watched
from lab.alerts.tuning.history import HistoryError, PrometheusHistory
from lab.prometheus import Prometheus, PrometheusError
from lab.settings import SettingError, load_settings

PLAIN_WIDTH = 200


class Duration(click.ParamType[int]):
    """A Prometheus duration, as ms."""

    name = "duration"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds."""
        if isinstance(value, int):
            return value
        try:
            found = duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if found > 90 * 86_400_000:
            self.fail(f"{value}: at most 90d", param, ctx)
        return found


@click.command("tune")
@click.argument("alert", required=False)
@click.option("--threshold", type=float, help="Try this threshold.")
@click.option("--for", "hold", type=Duration(), help="Try this time, such as 30s.")
@click.option("--floor", type=click.FloatRange(0), help="Try this floor of bad events.")
@click.option(
    "--last", type=Duration(), default="6h", show_default=True, help="How much of Prometheus' history to read."
)
@click.option("--propose", "proposes", is_flag=True, help="Show the trade-off over thresholds and times, and choose.")
@click.option("--since", "ref", help="What the change of thresholds.yml since this commit does, as Markdown.")
@click.option(
    "--allow-false",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="With --since: more false episodes an alert that are let pass.",
)
@click.option("--strict", is_flag=True, help="Show only alerts that missed a fault or fired falsely; exit 1 if any.")
@click.option(
    "--shadow", "shadow_ms", type=Duration(), help="Let the numbers run beside ALERT for so long, such as 1d."
)
@click.option("--shadows", "shows_shadows", is_flag=True, help="Compare what shadows did with the alerts in force.")
@click.option("--prometheus", "url", help="Base URL of a Prometheus API.  [default: that of the stack here]")
@click.option(
    "--corpus", type=click.Path(path_type=Path, file_okay=False), default=CORPUS, help="Folder of recordings."
)
@click.option("--no-corpus", is_flag=True, help="Only Prometheus' history.")
@click.option("--no-history", is_flag=True, help="Only the recordings.")
@click.option("--rules", type=click.Path(path_type=Path, dir_okay=False), help="A rule file of your own, with --alert.")
@click.option("--alert", "foreign_alert", help="With --rules: the alert in it.")
@click.option(
    "--replace",
    "replacements",
    multiple=True,
    metavar="OLD=NEW",
    help="With --rules: try other text in its expression.",
)
@click.option("--interval", type=Duration(), help="With --rules: its evaluation interval, where the file has none.")
def tune(
    alert: str | None,
    threshold: float | None,
    hold: int | None,
    floor: float | None,
    last: int,
    proposes: bool,
    ref: str | None,
    allow_false: int,
    strict: bool,
    shadow_ms: int | None,
    shows_shadows: bool,
    url: str | None,
    corpus: Path,
    no_corpus: bool,
    no_history: bool,
    rules: Path | None,
    foreign_alert: str | None,
    replacements: Sequence[str],
    interval: int | None,
) -> None:
    """Say what alerts did over Prometheus' history and the corpus, or what ALERT would do with other numbers.

    Exit status: 0 done; 1 an alert has become worse (--since), or is not right (--strict); 2 could not be done.
    """
    console = Console(width=None if Console().is_terminal else PLAIN_WIDTH)
    try:
        if rules:
            answers.foreign_rule(console, rules, foreign_alert or alert, replacements, url, last, interval)
            return
        watched = load_watched()
        if ref:
            answers.review(watched, ref, corpus, allow_false)
            return
        if shows_shadows:
            shadow_answers.compare_shadows(console, url)
            return
        chosen = known(watched, alert) if alert else None
        if shadow_ms:
            shadow_answers.run_shadow(watched, chosen, threshold, floor, hold, shadow_ms, url)
            return
        places = _places(console, url, last, None if no_corpus else corpus, no_history)
        if chosen is None:
            answers.everything(console, watched.values(), places, strict, {} if no_history else answers.verdicts())
        elif proposes:
            answers.proposal(console, chosen, places)
        else:
            answers.candidate(console, chosen, chosen.turned(threshold, floor, hold), places)
    except (HistoryError, FormError, DrillError, SettingError, PrometheusError) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    click.echo(f"glasshouse tune: {message}", err=True)
    raise SystemExit(2)


def _places(console: Console, url: str | None, last: int, corpus: Path | None, no_history: bool) -> list[Place]:
    """The recordings, and the history of a Prometheus that answers; one that was named must."""
    places = read_corpus(corpus) if corpus and (corpus != CORPUS or any(corpus.glob("*"))) else []
    if not no_history:
        prometheus = Prometheus(url or load_settings().url("prometheus"), timeout=ANSWER_SECONDS)
        try:
            prometheus.query("vector(1)")
            now = time.time()
            places.append(place_of(PrometheusHistory(prometheus, now - last / 1000, now)))
        except PrometheusError as error:
            if url or not places:
                raise
            console.print(f"without a running Prometheus ({error}): the corpus only", style="dim", highlight=False)
    if not places:
        raise HistoryError("neither a history nor a recording: start the stack, or leave out --no-history")
    console.print(f"over {names(places)}", style="dim", highlight=False)
    return places
