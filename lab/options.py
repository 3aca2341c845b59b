"""Types of command line options."""

import math
from typing import Any

import click


class Number(click.FloatRange):
    """A finite float in a range. click's own range accepts `nan`, because every comparison with it is false."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number
