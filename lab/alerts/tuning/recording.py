"""Recordings: signals, events, thresholds, `ALERTS` and known faults of some minutes, as compressed OpenMetrics.

The format is that of `promtool tsdb create-blocks-from openmetrics`, compressed with xz. Ten minutes of all alerts take
a few kilobytes, and any Prometheus can import them.
"""

import lzma
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from lab.alerts.tuning.history import History, HistoryError, Samples

SUFFIX = ".om.xz"
# 1 while a fault caused by the lab is active, with its part, its kind and the names of its drills, if any
FAULT = "fault_active"
# the metrics that a backtest needs
RECORDED = ("alert_signal", "alert_events", "alert_threshold", "alert_floor", "ALERTS", FAULT)
# Prometheus' start time, because a restart resets pending alerts
STARTED = ("process_start_time_seconds", {"job": "prometheus"})
# significant digits: further digits of measured values are noise, which does not compress
DIGITS = {"alert_signal": 6, "alert_events": 6}
# prefix of the description, in comment lines at the top
ABOUT = "# ABOUT "
# the last time that an array of them has
MAX_MS = (1 << 62) - 1
_LINE = re.compile(r"^(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+) (?P<time>\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}


class Recording:
    """The samples of a recording in memory. `about` says how it was made."""

    def __init__(self, name: str, series: Iterable[Samples], about: str = "") -> None:
        self.name, self.about = name, about
        self.series = [each for each in series if len(each.times)]
        if not self.series:
            raise HistoryError(
                f"{name}: no samples in that time: is Prometheus running, and are the alerts' rules loaded?"
            )
        self.begin = int(min(each.times[0] for each in self.series))
        self.end = int(max(each.times[-1] for each in self.series))

    def select(self, name: str, labels: Mapping[str, str]) -> list[Samples]:
        """The series of that name with these labels."""
        return [each for each in self.series if each.name == name and labels.items() <= each.labels.items()]


def take(history: History, name: str, about: str) -> Recording:
    """Creates a recording from a history. Raises `PrometheusError` and `HistoryError`."""
    series = [each for metric in RECORDED for each in history.select(metric, {})]
    return Recording(name, series + history.select(*STARTED), about)


def save(recording: Recording, file: Path) -> None:
    """Writes a recording; the output is deterministic."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(lzma.compress("".join(_lines(recording)).encode(), preset=9))


def load(file: Path) -> Recording:
    """Reads a recording. Raises `HistoryError` if it is missing or broken."""
    try:
        text = lzma.decompress(file.read_bytes()).decode()
    except FileNotFoundError:
        raise HistoryError(f"{file}: no such recording") from None
    except (OSError, lzma.LZMAError, UnicodeDecodeError, EOFError) as error:
        raise HistoryError(f"{file}: is broken ({error}): restore it from git, or record it again") from error
    if not text.rstrip().endswith("# EOF"):
        raise HistoryError(f"{file}: is truncated: restore it from git, or record it again")
    about = "\n".join(line.removeprefix(ABOUT) for line in text.splitlines() if line.startswith(ABOUT))
    return Recording(file.name.removesuffix(SUFFIX), _parsed(text, file), about)


def _lines(recording: Recording) -> Iterator[str]:
    for line in recording.about.splitlines():
        yield f"{ABOUT}{line}\n"
    seen = ""
    for each in sorted(recording.series, key=lambda each: (each.name, sorted(each.labels.items()))):
        if each.name != seen:
            seen = each.name
            yield f"# TYPE {seen} gauge\n"
        labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(each.labels.items()))
        head = f"{each.name}{{{labels}}}" if labels else each.name
        digits = DIGITS.get(each.name, 13)
        for time, value in zip(each.times.tolist(), each.values.tolist(), strict=True):
            yield f"{head} {value:.{digits}g} {time / 1000:.3f}\n"
    yield "# EOF\n"


def _parsed(text: str, file: Path) -> Iterator[Samples]:
    points: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
    # not splitlines(): a label may contain characters that it treats as the end of a line
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")  # noqa: PLW2901
        if not line or line.startswith("#"):
            continue
        found = _LINE.match(line)
        try:
            if not found:
                raise ValueError
            times, values = points.setdefault((found["name"], found["labels"] or ""), ([], []))
            time, value = round(float(found["time"]) * 1000), float(found["value"])
            if not 0 <= time <= MAX_MS or (times and time <= times[-1]):
                raise ValueError
            times.append(time)
            values.append(value)
        except (ValueError, OverflowError):
            raise HistoryError(
                f"{file}: line {number} is not an OpenMetrics sample, or not later than the one before: record it again"
            ) from None
    for (name, labels), (times, values) in points.items():
        pairs = {key: re.sub(r"\\(.)", _unescaped, value) for key, value in _LABEL.findall(labels)}
        yield Samples(name, pairs, np.array(times, np.int64), np.array(values))


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(each, each) for each in text)


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]
