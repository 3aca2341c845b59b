"""The effect of a change of alerts/thresholds.yml on the alerts over the corpus, as Markdown for a review."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lab.alerts.tuning.corpus import Place, Tested, backtest
from lab.alerts.tuning.form import Watched, load_watched
from lab.alerts.tuning.history import HistoryError
from lab.programs import last_line, run_program
from lab.settings import ROOT


@dataclass(frozen=True)
class Turned:
    """An alert whose values were changed, with backtests of the old and the new ones."""

    then: Tested
    now: Tested

    @property
    def lost(self) -> int:
        """The increase in missed faults."""
        return self.now.score.missed - self.then.score.missed

    @property
    def false(self) -> int:
        """The increase in false episodes."""
        return self.now.score.false - self.then.score.false

    def is_worse(self, max_false: int) -> bool:
        """Whether more faults are missed, or there are more than `max_false` additional false episodes."""
        return self.lost > 0 or self.false > max_false


def written_at(ref: str) -> Mapping[str, Watched]:
    """The alerts with the values of thresholds.yml at a git commit. Raises `HistoryError` and `FormError`."""
    command = ["git", "show", "--end-of-options", f"{ref}:alerts/thresholds.yml"]
    try:
        done = run_program(command, cwd=ROOT)
    except FileNotFoundError as error:
        raise HistoryError("git is not installed") from error
    if done.returncode:
        raise HistoryError(f"git has no alerts/thresholds.yml at {ref}: {last_line(done.stderr)}")
    return load_watched(text=done.stdout)


def turned(then: Mapping[str, Watched], now: Mapping[str, Watched], places: Sequence[Place]) -> list[Turned]:
    """The alerts whose values differ, in the order of the file; new and removed alerts are not included."""
    return [
        Turned(backtest(then[name], places, then[name].numbers), backtest(each, places, each.numbers))
        for name, each in now.items()
        if name in then and each.numbers != then[name].numbers
    ]


def markdown(found: Sequence[Turned], ref: str, recordings: int, max_false: int) -> Iterator[str]:
    """The lines of the review."""
    yield f"### Alerts over {recordings} recordings, against {ref}"
    yield ""
    if not found:
        yield "No alert's values have changed."
        return
    yield "| alert | values | true | false | missed | recall | median s | worst s | |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for each in found:
        before, after = each.then.score, each.now.score
        cells = [
            each.now.watched.alert,
            f"{numbers(each.then.watched)} → {numbers(each.now.watched)}",
            f"{before.true} → {after.true}",
            f"{before.false} → {after.false}",
            f"{before.missed} → {after.missed}",
            f"{figure(before.recall)} → {figure(after.recall)}",
            f"{figure(before.median_delay)} → {figure(after.median_delay)}",
            f"{figure(before.worst_delay)} → {figure(after.worst_delay)}",
            "**worse**" if each.is_worse(max_false) else "",
        ]
        yield f"| {' | '.join(cells)} |"
    for each in found:
        yield from _episodes(each)


def _episodes(each: Turned) -> Iterator[str]:
    before = {(place, episode.fired) for place, episode in each.then.false()}
    lines = [
        f"- false in {place} at {clock(episode.fired)}: {labels(episode.labels)}".removesuffix(": ")
        for place, episode in each.now.false()
        if (place, episode.fired) not in before
    ]
    for place, judged in each.now.by_place.items():
        seen_then = each.then.by_place[place].missed if place in each.then.by_place else []
        lines += [
            f"- missed in {place} at {clock(fault.begin)}: {fault.kind} {fault.part}"
            for fault in judged.missed
            if fault not in seen_then
        ]
    if lines:
        yield ""
        yield f"{each.now.watched.alert}:"
        yield from lines


def numbers(watched: Watched) -> str:
    """An alert's values as short text."""
    given = watched.numbers
    parts = [] if given.threshold is None else [f"{'below' if watched.is_below else 'above'} {given.threshold:g}"]
    parts += [] if given.floor is None else [f"floor {given.floor:g}"]
    return ", ".join([*parts, f"for {given.hold / 1000:g} s"])


def figure(value: float | None) -> str:
    """A number as text, or a dash for None."""
    return "-" if value is None else f"{value:.3g}"


def clock(milliseconds: int) -> str:
    """Date and time in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def labels(given: Mapping[str, str]) -> str:
    """The labels that distinguish an alert from others of the same name."""
    common = {"job", "severity", "part", "alertname", "alertstate"}
    return " ".join(f"{key}={value}" for key, value in sorted(given.items()) if key not in common)
