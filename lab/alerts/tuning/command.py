"""`glasshouse tune`: how well alerts performed, how they would with other values, and which values to use."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console

from lab.alerts.drills.definition import DrillError
from lab.alerts.durations import milliseconds
from lab.alerts.tuning import answers, shadow_answers
from lab.alerts.tuning.answers import ANSWER_SECONDS
from lab.alerts.tuning.corpus import CORPUS, Place, known, names, place_of, read_corpus
from lab.alerts.tuning.form import FormError, load_watched
from lab.alerts.tuning.history import HistoryError, PrometheusHistory
from lab.options import Number
from lab.prometheus import Prometheus, PrometheusError
from lab.settings import SettingError, load_settings

PLAIN_WIDTH = 200


class Duration(click.ParamType[int]):
    """A Prometheus duration, converted to ms."""

    name = "duration"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parses a duration. Fails if it is longer than 90 days."""
        if isinstance(value, int):
            return value
        try:
            found = milliseconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if found > 90 * 86_400_000:
            self.fail(f"{value}: at most 90d", param, ctx)
        return found


@click.command("tune")
@click.argument("alert", required=False)
@click.option("--threshold", type=Number(), help="Threshold of the candidate.")
@click.option("--for", "hold", type=Duration(), help="`for` of the candidate, such as 30s.")
@click.option("--floor", type=Number(0), help="Floor of the candidate: minimum number of bad events.")
@click.option(
    "--last", type=Duration(), default="6h", show_default=True, help="How far to look back in Prometheus' history."
)
@click.option(
    "--propose", "proposes", is_flag=True, help="Show the trade-off between thresholds and `for`, and propose values."
)
@click.option("--since", "ref", help="Print the effect of changes to thresholds.yml since this commit, as Markdown.")
@click.option(
    "--allow-false",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="With --since: additional false episodes per alert that are tolerated.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Show only alerts that missed a fault or fired falsely; exit status 1 if there are any.",
)
@click.option(
    "--shadow", "shadow_ms", type=Duration(), help="Run the candidate as a shadow of ALERT for this long, such as 1d."
)
@click.option("--shadows", "shows_shadows", is_flag=True, help="Compare the shadows with the alerts in force.")
@click.option("--prometheus", "url", help="Base URL of a Prometheus API.  [default: the local stack's]")
@click.option(
    "--corpus", type=click.Path(path_type=Path, file_okay=False), default=CORPUS, help="Folder of recordings."
)
@click.option("--no-corpus", is_flag=True, help="Use only Prometheus' history.")
@click.option("--no-history", is_flag=True, help="Use only the recordings.")
@click.option("--rules", type=click.Path(path_type=Path, dir_okay=False), help="Your own rule file; use with --alert.")
@click.option("--alert", "foreign_alert", help="With --rules: the name of the alert.")
@click.option(
    "--replace",
    "replacements",
    multiple=True,
    metavar="OLD=NEW",
    help="With --rules: replace text in its expression.",
)
@click.option("--interval", type=Duration(), help="With --rules: the evaluation interval, if the file has none.")
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
    """Score all alerts over Prometheus' history and the corpus, or backtest ALERT with other values.

    Exit status: 0 done; 1 an alert became worse (--since) or has errors (--strict); 2 the backtest was not possible.
    """
    console = Console(width=None if Console().is_terminal else PLAIN_WIDTH, markup=False)
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
    """The recordings, and Prometheus' history if it answers; a Prometheus given by `--prometheus` must answer."""
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
            console.print(f"no running Prometheus ({error}): using only the corpus", style="dim", highlight=False)
    if not places:
        raise HistoryError("neither history nor recordings: start the stack, or omit --no-history")
    console.print(f"data: {names(places)}", style="dim", highlight=False)
    return places
