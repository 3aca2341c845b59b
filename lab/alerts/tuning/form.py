"""The one form that every alert with a number has, as the backtest reads it: series, direction, numbers.

The series are recorded (docs/alerts.md): `alert_signal` is what is compared, `alert_events` the bad events behind it,
`alert_threshold` and `alert_floor` the numbers that are turned. Nothing else in this package knows their names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

SIGNAL, EVENTS, THRESHOLD, FLOOR = "alert_signal", "alert_events", "alert_threshold", "alert_floor"


@dataclass(frozen=True)
class Numbers:
    """What people turn: `hold` and `keep` in ms; a floor of None is no floor, one that is met is enough."""

    threshold: float
    floor: float | None = None
    hold: int = 0
    keep: int = 0


@dataclass(frozen=True)
class Watched:
    """An alert with a number, which is bad above its threshold or below it."""

    alert: str
    numbers: Numbers
    is_below: bool = False
    severity: str = ""

    @property
    def labels(self) -> Mapping[str, str]:
        """What selects its recorded series."""
        return {"alert": self.alert}

    def turned(self, threshold: float | None = None, floor: float | None = None, hold: int | None = None) -> "Watched":
        """The same alert with other numbers; None leaves one as it is."""
        numbers = self.numbers
        return replace(
            self,
            numbers=replace(
                numbers,
                threshold=numbers.threshold if threshold is None else threshold,
                floor=numbers.floor if floor is None else floor,
                hold=numbers.hold if hold is None else hold,
            ),
        )
