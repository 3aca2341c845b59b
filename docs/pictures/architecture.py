"""Draws architecture.svg: `python docs/pictures/architecture.py`, or `make docs`.

The layers of the third part are read from the contracts in pyproject.toml, which `make lint` enforces.
`tests/repository/test_architecture.py` compares the first two parts with the code and the configuration.
"""

import tomllib
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_suffix(".svg")
WIDTH, HEIGHT = 1180, 930
GREY, BLUE, GREEN, ORANGE = "#f2f3f5", "#dcebf7", "#dcf1e7", "#fbead2"
LINE, TEXT, FAINT = "#3c4650", "#1d242b", "#66717c"
BOX_HEIGHT = 52


@dataclass(frozen=True)
class Box:
    """A rectangle with a name, and below it a path in the repository or a few words."""

    left: float
    top: float
    width: float
    name: str
    note: str
    fill: str = BLUE

    @property
    def right(self) -> float:
        """The x coordinate of its right edge."""
        return self.left + self.width

    @property
    def middle(self) -> tuple[float, float]:
        """Its centre."""
        return self.left + self.width / 2, self.top + BOX_HEIGHT / 2


# --- the layers that a request passes, in order: what a class of service/app.py does, and its module
REPLICA = {
    "reading": ("read the request", "service/requests.py"),
    "TelemetryMiddleware": ("measure and trace", "service/telemetry/"),
    "AdmissionMiddleware": ("rate limit, shed load", "service/admission.py"),
    "Litestar": ("route", "service/tasks/routes.py"),
    "TaskRepository": ("read through, write", "service/tasks/repository.py"),
    "TaskCache": ("cache", "service/tasks/cache.py"),
    "TaskStore": ("SQL", "service/tasks/store.py"),
}
# --- the stages of a signal, from the service to a person, and the files that define them
SIGNAL = [
    ("metric", "service/telemetry/metrics.py", BLUE),
    ("scrape", "observability/prometheus/", GREEN),
    ("recorded series", "alerts/rules/ and others", GREEN),
    ("alert", "signal against threshold", GREEN),
    ("route, inhibit", "observability/alertmanager/", GREEN),
    ("alert inbox", "lab/desk/", ORANGE),
]


def request() -> list[str]:
    """The first part: the path of a request."""
    client = Box(20, 60, 110, "client", "or a load test", GREY)
    gateway = Box(170, 60, 150, "gateway", "gateway/nginx.conf", GREEN)
    boxes = [
        Box(360 + 196 * (n % 4), 60 + 84 * (n // 4), 172, name, path) for n, (name, path) in enumerate(REPLICA.values())
    ]
    redis = Box(556, 262, 172, "Redis Cluster", "redis/: cache, counters", GREEN)
    postgres = Box(752, 262, 172, "PostgreSQL", "rows, outbox, epoch", GREEN)
    drawn = [_text(20, 36, "1  A request", 17), *(_box(each) for each in (client, gateway, *boxes, redis, postgres))]
    for left, right in (client, gateway), (gateway, boxes[0]), *pairwise(boxes[:4]):
        drawn.append(_arrow((left.right, left.middle[1]), (right.left, right.middle[1])))
    turn = boxes[3].middle[0]
    drawn.append(_arrow((turn, 112), (turn, 128), (446, 128), (446, 144)))
    drawn += [_arrow((boxes[n].right, 170), (boxes[n + 1].left, 170)) for n in (4, 5)]
    drawn.append(_text(boxes[5].right + 12, 160, "miss", 11, FAINT, anchor="middle"))
    drawn.append(_arrow((boxes[5].middle[0], 196), (boxes[5].middle[0], 262)))
    drawn.append(_arrow((boxes[6].middle[0], 196), (boxes[6].middle[0], 262)))
    drawn.append(_text(20, 276, "Three replicas. The gateway sends a request to the one with the fewest,", 12, FAINT))
    drawn.append(_text(20, 293, "and retries safe requests on another one if a replica does not answer.", 12, FAINT))
    return [f'<rect x="344" y="48" width="{196 * 4 + 8}" height="158" rx="10" fill="none" stroke="#b5bec7"/>', *drawn]


def signal() -> list[str]:
    """The second part: the path of a signal, from metric to page."""
    boxes = [Box(20 + 192 * n, 380, 172, name, note, fill) for n, (name, note, fill) in enumerate(SIGNAL)]
    below = [
        Box(20, 470, 172, "spans, log records", "OTLP over HTTP"),
        Box(212, 470, 172, "Tempo, Loki", "or lab/tracestore/", GREEN),
        Box(404, 470, 172, "dashboards", "observability/dashboards/", ORANGE),
        Box(596, 470, 172, "thresholds", "alerts/thresholds.yml", GREY),
        Box(788, 470, 172, "drill, backtest", "lab/alerts/: `tune`", ORANGE),
        Box(980, 470, 172, "runbook", "alerts/runbooks/", GREY),
    ]
    drawn = [_text(20, 356, "2  A signal, from metric to page", 17), *(_box(each) for each in (*boxes, *below))]
    for left, right in pairwise(boxes):
        drawn.append(_arrow((left.right, left.middle[1]), (right.left, right.middle[1])))
    for left, right in (below[0], below[1]), (below[1], below[2]):
        drawn.append(_arrow((left.right, left.middle[1]), (right.left, right.middle[1])))
    for n in (2, 5):
        drawn.append(_arrow((boxes[n].middle[0], 432), (below[n].middle[0], 470)))
    drawn.append(_arrow((below[3].middle[0], 470), (boxes[3].middle[0], 432)))
    drawn.append(_arrow((below[4].left, below[4].middle[1]), (below[3].right, below[3].middle[1])))
    return drawn


def imports() -> list[str]:
    """The third part: allowed imports, from the contracts."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {each["layers"][0].split(".")[0]: each["layers"] for each in contracts if each["type"] == "layers"}
    drawn = [_text(20, 566, "3  Allowed imports: a line imports only from lines below it", 17)]
    for left, room in (20, "service"), (410, "lab"):
        drawn.append(_text(left + 10, 598, room, 14))
        for n, layer in enumerate(layers[room]):
            names = " | ".join(each.strip().removeprefix(f"{room}.") for each in layer.split("|"))
            top = 610 + 34 * n
            drawn.append(
                f'<rect x="{left}" y="{top}" width="370" height="28" rx="5" fill="{BLUE if left < 400 else ORANGE}"/>'
            )
            drawn.append(_text(left + 10, top + 19, names, 12))
    beside = [
        "service imports nothing else of the repository.",
        "lab never imports service: it speaks HTTP and PromQL.",
        "observability.dashboards imports lab (alert definitions).",
        "benchmarks imports lab and testbed, and no tests.",
        "testbed starts real servers, for tests and benchmarks.",
        "tests may import everything.",
        "Rooms on one line (|) do not import each other.",
    ]
    return [*drawn, *(_text(810, 629 + 26 * n, text, 12) for n, text in enumerate(beside))]


def picture() -> str:
    """The whole picture, as SVG."""
    parts = "\n".join((*request(), *signal(), *imports()))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">\n'
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker></defs>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{parts}\n</svg>\n'
    )


def _box(box: Box) -> str:
    middle = box.middle[0]
    return (
        f'<rect x="{box.left:g}" y="{box.top:g}" width="{box.width:g}" height="{BOX_HEIGHT}" rx="6" fill="{box.fill}" '
        f'stroke="#9aa5b0"/>{_text(middle, box.top + 22, box.name, 14, anchor="middle")}'
        f"{_text(middle, box.top + 40, box.note, 11, FAINT, anchor='middle')}"
    )


def _text(left: float, base: float, text: str, size: int, colour: str = TEXT, anchor: str = "start") -> str:
    place = f'x="{left:g}" y="{base:g}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
    return f"<text {place}>{escape(text)}</text>"


def _arrow(*points: tuple[float, float]) -> str:
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="1.4" marker-end="url(#head)"/>'


if __name__ == "__main__":
    FILE.write_text(picture())
