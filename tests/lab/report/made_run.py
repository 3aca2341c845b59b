"""A run of a load test, made up from a seed."""

import random
from typing import Any

from lab.runs.check import Check
from lab.runs.histogram import Histogram
from lab.runs.record import (
    Figures,
    Inside,
    Machine,
    Run,
    Settings,
)
from lab.runs.second import Second
from lab.runs.service_levels import ServiceLevels


def seconds(seed: int, slower: float = 1.0, length: int = 60) -> list[Second]:
    draw = random.Random(seed)
    made = []
    for number in range(length):
        kinds = []
        for _ in range(2):
            histogram = Histogram()
            for _ in range(15):
                histogram.add(draw.lognormvariate(-5.5, 0.5) * slower)
            kinds.append(histogram)
        made.append(Second(number + 1.0, 1.0, "steady", 30, 30, 30, 0, 0, 100, 0, 0, 0.0, 0.0, 0, 0, 0.0, 0.1, *kinds))
    return made


def run(seed: int = 1, slower: float = 1.0, hit_ratio: float = 0.9, **changes: Any) -> Run:
    figures = Figures(0, 0, 0, 0, 0, 0, 0, 0, 0)
    values: dict[str, Any] = {
        "id": f"run-{seed}",
        "profile": "steady",
        "began": 0.0,
        "ended": 60.0,
        "settings": Settings(30, 60, 100, seed, "http://127.0.0.1:5000", 0, "glasshouse load"),
        "versions": {},
        "machine": Machine("Linux", "x86", 2, 1),
        "prepared": 200,
        "sent": 1800,
        "resent": 0,
        "offered": 1800,
        "answered": 1800,
        "failed": 0,
        "dropped": 0,
        "statuses": {"200": 1800},
        "failures": {},
        "service_levels": ServiceLevels(1.0, 1.0),
        "checks": [Check("failed requests", "0", "none", True)],
        "total": figures,
        "reads": figures,
        "writes": figures,
        "routes": {},
        "limit": None,
        "lag": 0.0,
        "lost_workers": [],
        "cut_short": None,
        "is_search": False,
        "found": None,
        "collapsed": None,
        "inside": Inside(hit_ratio=hit_ratio, lookups=1000),
        "seconds": seconds(seed, slower),
    }
    return Run(**{**values, **changes})
