"""Parses a dashboard's URL parameters, time range and variables, which are those of Grafana."""

import re
from collections.abc import Iterable

from lab.panels import Window

MAX_POINTS = 300
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_RELATIVE = re.compile(r"now(?:-(?P<amount>\d{1,6})(?P<unit>[smhdw]))?")


class ChoiceError(ValueError):
    """An invalid time; the message says what is allowed."""


def window(start: str, end: str, now: float) -> Window:
    """The window of `from` and `to`: unix milliseconds, `now` or `now-15m`. `now` is in unix seconds.

    Raises `ChoiceError`.
    """
    first, last = _seconds(start, now), _seconds(end, now)
    if not last - first >= 1:
        raise ChoiceError(f"from={start} must be before to={end}")
    return Window.of(first, last, MAX_POINTS)


def chosen(parameters: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The values chosen for each variable, from parameters named `var-NAME`."""
    found: dict[str, list[str]] = {}
    for key, value in parameters:
        if key.startswith("var-"):
            found.setdefault(key.removeprefix("var-"), []).append(value)
    return found


def _seconds(text: str, now: float) -> float:
    if re.fullmatch(r"\d{1,15}", text):
        return int(text) / 1000
    relative = _RELATIVE.fullmatch(text)
    if relative is None:
        raise ChoiceError(f"{text!r} is not a time: unix milliseconds, now, or now-15m with s, m, h, d or w")
    if relative["amount"] is None:
        return now
    return now - int(relative["amount"]) * _UNITS[relative["unit"]]
