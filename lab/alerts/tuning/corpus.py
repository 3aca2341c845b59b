"""The corpus, which is the recordings in alerts/recordings/, and backtests of alerts over any set of histories."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.alerts.drills.definition import expectations, load_drills
from lab.alerts.tuning.backtest import Episode, Traced, episodes, trace
from lab.alerts.tuning.form import ALERTS, Numbers, Watched
from lab.alerts.tuning.history import History, HistoryError
from lab.alerts.tuning.judged import Judged, Score, judge
from lab.alerts.tuning.recording import SUFFIX, Recording, load
from lab.alerts.tuning.truth import Truth, truth_of

CORPUS = ALERTS / "recordings"


@dataclass(frozen=True)
class Place:
    """One history and its known faults. Traces of alerts are cached."""

    history: History
    truth: Truth
    traced: dict[str, Traced | None] = field(default_factory=dict)

    def trace(self, watched: Watched) -> Traced | None:
        """The alert's series in this history."""
        if watched.alert not in self.traced:
            self.traced[watched.alert] = trace(self.history, watched)
        return self.traced[watched.alert]

    def numbers(self, watched: Watched) -> Numbers | None:
        """The default values for a backtest; None stands for the values in force at the time."""
        return watched.numbers if isinstance(self.history, Recording) else None


@dataclass(frozen=True)
class Tested:
    """The result of a backtest of one alert in each history."""

    watched: Watched
    by_place: Mapping[str, Judged]

    @property
    def score(self) -> Score:
        """The score over all histories."""
        return sum((each.score for each in self.by_place.values()), Score())

    def false(self) -> Iterator[tuple[str, Episode]]:
        """The false episodes, each with the name of its history."""
        for name, judged in self.by_place.items():
            yield from ((name, each) for each, verdict in judged.episodes if verdict == "false")


def read_corpus(folder: Path = CORPUS) -> list[Place]:
    """All recordings, ordered by name. Raises `HistoryError`, and `DrillError` for invalid drills."""
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise HistoryError(f"{folder}: no recordings here; `glasshouse record` and `glasshouse drill` create them")
    return [place_of(load(file)) for file in files]


def place_of(history: History) -> Place:
    """A history with its known faults and what the drills expect of them."""
    return Place(history, truth_of(history, expectations(load_drills())))


def backtest(watched: Watched, places: Iterable[Place], numbers: Numbers | None) -> Tested:
    """Backtests an alert with these values in each history that has its series.

    With None, a history is tested with the values in force at the time, and a recording with today's values.
    """
    found: dict[str, Judged] = {}
    for place in places:
        traced = place.trace(watched)
        if traced is not None:
            found[place.history.name] = judge(
                watched.alert, episodes(traced, numbers or place.numbers(watched)), place.truth
            )
    return Tested(watched, found)


def known(watched: Mapping[str, Watched], alert: str) -> Watched:
    """The alert of that name. Raises `HistoryError` with similar names."""
    if alert not in watched:
        near = [name for name in watched if alert.lower() in name.lower()]
        hint = f"did you mean {', '.join(near)}?" if near else "`glasshouse tune` lists them"
        raise HistoryError(f"there is no alert {alert}: {hint}")
    return watched[alert]


def names(places: Sequence[Place]) -> str:
    """The names of the histories, for messages."""
    return ", ".join(place.history.name for place in places)
