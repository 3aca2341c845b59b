"""Judges a run by its checks."""

from collections.abc import Sequence

from lab.load.conditions import Condition
from lab.load.measured import Measured
from lab.runs.check import Check
from lab.runs.service_levels import AVAILABILITY, FAST_READS, FAST_SECONDS


def checks(measured: Measured, thresholds: Sequence[Condition]) -> list[Check]:
    """The checks of a run with a given rate."""
    levels = measured.service_levels
    return [
        Check(
            "answered correctly",
            f"{levels.availability:.3%}",
            f"at least {AVAILABILITY:.1%}",
            levels.availability >= AVAILABILITY,
        ),
        Check(
            f"reads answered within {FAST_SECONDS * 1000:.0f} ms of when they were due",
            f"{levels.fast_reads:.2%}",
            f"at least {FAST_READS:.0%}",
            levels.fast_reads >= FAST_READS,
        ),
        Check("failed requests", str(measured.failed), "none", not measured.failed),
        Check("dropped requests", str(measured.dropped), "none", not measured.dropped),
        *(each.check(measured.seconds) for each in thresholds),
    ]


def search_checks(measured: Measured, found: float | None, thresholds: Sequence[Condition]) -> list[Check]:
    """The checks of a run that searches for the highest rate: it fails only if it found none."""
    was = "none" if found is None else f"{found:.0f}/s"
    held = Check("highest rate that held", was, "any", found is not None)
    return [held, *(each.check(measured.seconds) for each in thresholds)]
