"""What a run is judged by."""

from msgspec import Struct


class Check(Struct, frozen=True):
    """One thing that a run had to meet: what it was, what it should have been, and whether it met it."""

    name: str
    was: str
    objective: str
    met: bool
