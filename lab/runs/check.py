"""The checks of a run."""

from msgspec import Struct


class Check(Struct, frozen=True):
    """One criterion of a run: its name, the measured value, what was required, and whether it was met."""

    name: str
    was: str
    objective: str
    met: bool
