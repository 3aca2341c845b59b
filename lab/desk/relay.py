"""Keeps the load generator's metrics between its pushes and Prometheus' scrapes."""

import time
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from lab.load.metrics import idle_exposition

# A generator pushes every second; one that has not for so long, and did not say it was idle, is gone.
GONE_SECONDS = 10.0
MOST_CHARACTERS = 200_000


class Relay:
    """The newest metrics of the newest load. When none ever ran, or its generator died, all are zero."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._idle = idle_exposition()
        self._text = self._idle
        self._ends = False
        self._pushed = clock()

    def put(self, text: str) -> None:
        """Takes metrics in Prometheus' text format. Raises `ValueError` for what is none, too much or not `load_…`."""
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"more than {MOST_CHARACTERS} characters")
        families = list(text_string_to_metric_families(text))
        strangers = [family.name for family in families if not family.name.startswith("load_")]
        if strangers or not families:
            raise ValueError(f"no metrics of a load: {', '.join(strangers) or 'empty'}")
        phases = [sample.labels.get("phase") for family in families for sample in family.samples]
        self._ends = "idle" in phases
        self._text = text if text.endswith("\n") else text + "\n"
        self._pushed = self._clock()

    def exposition(self) -> str:
        """The metrics in Prometheus' text format."""
        if not self._ends and self._clock() - self._pushed > GONE_SECONDS:
            return self._idle
        return self._text
