"""The corpus: the recordings in alerts/recordings/, and the backtest of alerts over any set of histories."""

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
    """One history with the truth about it, named for the reader. What was traced of an alert is kept."""

    history: History
    truth: Truth
    traced: dict[str, Traced | None] = field(default_factory=dict)

    def trace(self, watched: Watched) -> Traced | None:
        """The alert's series here."""
        if watched.alert not in self.traced:
            self.traced[watched.alert] = trace(self.history, watched)
        return self.traced[watched.alert]

    def numbers(self, watched: Watched) -> Numbers | None:
        """The numbers to hold it against where no others are asked for; None for those that were in force."""
        return watched.numbers if isinstance(self.history, Recording) else None


@dataclass(frozen=True)
class Tested:
    """What an alert did in each place, and its score over all of them."""

    watched: Watched
    by_place: Mapping[str, Judged]

    @property
    def score(self) -> Score:
        """Over all places."""
        return sum((each.score for each in self.by_place.values()), Score())

    def false(self) -> Iterator[tuple[str, Episode]]:
        """The false episodes and where they were."""
        for name, judged in self.by_place.items():
            yield from ((name, each) for each, verdict in judged.episodes if verdict == "false")


def read_corpus(folder: Path = CORPUS) -> list[Place]:
    """Every recording, in the order of names. Raises `HistoryError`, and `DrillError` for drills that are not right."""
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise HistoryError(f"{folder}: there are no recordings: `glasshouse record` and `glasshouse drill` make them")
    return [place_of(load(file)) for file in files]


def place_of(history: History) -> Place:
    """A history with its truth, by what the drills expect."""
    return Place(history, truth_of(history, expectations(load_drills())))


def backtest(watched: Watched, places: Iterable[Place], numbers: Numbers | None) -> Tested:
    """The alert in each place that knows it, with these numbers.

    With None, a history is held against those that were in force at each moment, a recording against those of today.
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
    """The alert of that name. Raises `HistoryError`, which names the nearest."""
    if alert not in watched:
        near = [name for name in watched if alert.lower() in name.lower()]
        hint = f"did you mean {', '.join(near)}?" if near else "`glasshouse tune` lists them"
        raise HistoryError(f"there is no alert {alert}: {hint}")
    return watched[alert]


def names(places: Sequence[Place]) -> str:
    """The places, for the reader."""
    return ", ".join(place.history.name for place in places)
