"""Types of command line options."""

import math
from typing import Any

import click


class Number(click.FloatRange):
    """A float in a range, and neither `nan` nor infinite: no comparison with `nan` is true, so a range lets it pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number
