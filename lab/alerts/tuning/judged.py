"""Scores episodes against known faults: true and false episodes, missed faults, time to detect."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from lab.alerts.tuning.backtest import Episode
from lab.alerts.tuning.truth import Fault, Truth, standing

# an episode that starts within this time after the previous one of the same label set is flapping
FLAP_MS = 300_000
# an episode that resolves within this time is often noise
SHORT_MS = 300_000


@dataclass(frozen=True)
class Score:
    """The score of an alert over one or more histories.

    `true`, `false` and `unclear` count episodes; `unclear` ones fired during a fault that no drill describes. `missed`
    counts faults for which the alert must fire but did not. `delays` are the times to detect of the other such faults,
    in seconds. `short` of the `closed` episodes resolved within five minutes.
    """

    true: int = 0
    false: int = 0
    unclear: int = 0
    missed: int = 0
    delays: Sequence[float] = ()
    flaps: int = 0
    short: int = 0
    closed: int = 0

    @property
    def episodes(self) -> int:
        """The number of episodes."""
        return self.true + self.false + self.unclear

    @property
    def precision(self) -> float | None:
        """Share of true episodes among the true and false ones; None without any."""
        known = self.true + self.false
        return self.true / known if known else None

    @property
    def recall(self) -> float | None:
        """Share of detected faults among those that must be detected; None without any."""
        wanted = len(self.delays) + self.missed
        return len(self.delays) / wanted if wanted else None

    @property
    def median_delay(self) -> float | None:
        """Median time to detect."""
        return median(self.delays) if self.delays else None

    @property
    def worst_delay(self) -> float | None:
        """Longest time to detect."""
        return max(self.delays, default=None)

    @property
    def short_share(self) -> float | None:
        """Share of resolved episodes that resolved within five minutes."""
        return self.short / self.closed if self.closed else None

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.true + other.true,
            self.false + other.false,
            self.unclear + other.unclear,
            self.missed + other.missed,
            [*self.delays, *other.delays],
            self.flaps + other.flaps,
            self.short + other.short,
            self.closed + other.closed,
        )


@dataclass(frozen=True)
class Judged:
    """Episodes with their verdicts (`true`, `false`, `unclear`), and the faults that were missed."""

    episodes: Sequence[tuple[Episode, str]] = ()
    missed: Sequence[Fault] = ()
    score: Score = field(default_factory=Score)


def judge(alert: str, found: Sequence[Episode], truth: Truth) -> Judged:
    """Compares the episodes of one alert, all label sets together, with the faults of the same time."""
    verdicts = [(each, _verdict(alert, each, truth)) for each in sorted(found, key=lambda each: each.fired)]
    spans = _merged(verdicts)
    missed: list[Fault] = []
    delays: list[float] = []
    for fault, expected in truth.faults:
        if expected is None or alert not in expected.must:
            continue
        ends = None if fault.end is None else fault.end + expected.clears
        seen = [
            max(each.fired - fault.begin, 0)
            for each in found
            if (ends is None or each.fired <= ends) and (each.ended is None or each.ended > fault.begin)
        ]
        if seen:
            delays.append(min(seen) / 1000)
        else:
            missed.append(fault)
    kinds = [span.verdict for span in spans]
    closed = [span.ended - span.fired for span in spans if span.ended is not None]
    score = Score(
        true=kinds.count("true"),
        false=kinds.count("false"),
        unclear=kinds.count("unclear"),
        missed=len(missed),
        delays=delays,
        flaps=_flaps(found),
        short=sum(length < SHORT_MS for length in closed),
        closed=len(closed),
    )
    return Judged(verdicts, missed, score)


def _verdict(alert: str, episode: Episode, truth: Truth) -> str:
    there = standing(truth.faults, episode.fired)
    if any(expected and (alert in expected.must or alert in expected.may) for _, expected in there):
        return "true"
    if any(expected is None for _, expected in there):
        return "unclear"
    return "false"


@dataclass
class Span:
    """A time in which any label set fires, so that an alert of three replicas counts once. True if any of them is."""

    fired: int
    ended: int | None
    verdict: str


# a span has the first of these verdicts that any of its episodes has
ORDER = ("true", "unclear", "false")


def _merged(verdicts: Sequence[tuple[Episode, str]]) -> list[Span]:
    """Merges overlapping episodes; the input is in order of firing."""
    spans: list[Span] = []
    for each, verdict in verdicts:
        last = spans[-1] if spans else None
        if last is None or (last.ended is not None and each.fired > last.ended):
            spans.append(Span(each.fired, each.ended, verdict))
            continue
        last.ended = None if last.ended is None or each.ended is None else max(last.ended, each.ended)
        last.verdict = min(last.verdict, verdict, key=ORDER.index)
    return spans


def _flaps(found: Sequence[Episode]) -> int:
    ended: dict[frozenset[tuple[str, str]], int] = {}
    flaps = 0
    for each in sorted(found, key=lambda each: each.fired):
        key = _key(each.labels)
        if key in ended and each.fired - ended[key] < FLAP_MS:
            flaps += 1
        if each.ended is not None:
            ended[key] = each.ended
    return flaps


def _key(labels: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())
