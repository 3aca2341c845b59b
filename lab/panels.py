"""The committed dashboards as data, and their queries with variables interpolated like in Grafana."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lab.settings import ROOT

DASHBOARDS = ROOT / "observability" / "grafana" / "dashboards"
SCRAPE_SECONDS = 5.0
# what a panel says before it is measured for the first time; afterwards it has data, unlike one that waits for requests
NOT_MEASURED = "not measured"
# the value of "All" in Grafana's URLs
ALL = "$__all"

_LABEL_VALUES = re.compile(r"label_values\(\s*(?P<match>.*?)\s*,\s*(?P<label>\w+)\s*\)", re.DOTALL)
_REFERENCE = re.compile(r"\$(?:\{(?P<braced>[A-Za-z_]\w*)(?::\w+)?\}|(?P<plain>[A-Za-z_]\w*))")


class DashboardError(ValueError):
    """A dashboard that does not exist or cannot be read; the message names the file."""


@dataclass(frozen=True)
class Target:
    """One query of a panel. `datasource` is a provisioned uid, and `legend` a template such as `{{replica}}`.

    A bound is drawn dashed, and may be hidden (NaN) while the signal is far from it.
    """

    ref_id: str
    datasource: str
    query: str
    legend: str
    is_instant: bool
    format: Literal["time_series", "table", "heatmap"]
    is_bound: bool = False


@dataclass(frozen=True)
class Grid:
    """The position of a panel: x and w of 24 columns, y and h in rows of 30 pixels."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True)
class Panel:
    """A panel. `before` is the text that it shows while there is no data; may be empty.

    `source` is its JSON, with options and field configuration.
    """

    id: int
    kind: str
    title: str
    description: str
    unit: str
    row: str
    grid: Grid
    targets: tuple[Target, ...]
    source: Mapping[str, Any]
    before: str = ""


@dataclass(frozen=True)
class Variable:
    """A variable of a dashboard: the values of `label` on the series that `match` selects.

    A hidden variable is not shown, but links keep it.
    """

    name: str
    title: str
    match: str
    label: str
    is_multi: bool
    all_value: str
    is_hidden: bool = False


@dataclass(frozen=True)
class Annotation:
    """An annotation: marks on every panel the times at which `target`'s query has a value."""

    name: str
    colour: str
    title: str
    text: str
    target: Target


@dataclass(frozen=True)
class Dashboard:
    """A committed dashboard. `source` is its JSON; `parameters` are text variables without which it is empty."""

    uid: str
    title: str
    description: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...]
    source: Mapping[str, Any]
    parameters: tuple[str, ...] = ()

    def panels_of(self, datasource: str) -> tuple[Panel, ...]:
        """The panels that query the data source with this uid."""
        return tuple(panel for panel in self.panels if panel.targets and panel.targets[0].datasource == datasource)


@dataclass(frozen=True)
class Window:
    """A time range in unix seconds, with a point every `step` seconds."""

    start: float
    end: float
    step: float

    @classmethod
    def of(cls, start: float, end: float, max_points: int = 600) -> "Window":
        """A window of about `max_points` points at most. The step is at least the scrape interval."""
        step = SCRAPE_SECONDS
        for nice in (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400):
            step = float(nice)
            if (end - start) / step <= max_points:
                break
        return cls(start - start % step, end - end % step, step)


def load_dashboards(folder: Path = DASHBOARDS) -> tuple[Dashboard, ...]:
    """All dashboards of a folder, ordered by file name. Raises `DashboardError`."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise DashboardError(f"{folder}: no dashboards here; `make dashboards` builds them")
    return tuple(load_dashboard(file) for file in files)


def load_dashboard(file: Path) -> Dashboard:
    """Parses a dashboard's JSON. Raises `DashboardError`."""
    try:
        source: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return Dashboard(
            uid=source["uid"],
            title=source["title"],
            description=source.get("description", ""),
            panels=tuple(_panels(source["panels"])),
            variables=tuple(_variable(item) for item in source["templating"]["list"] if item["type"] != "textbox"),
            annotations=tuple(_annotation(item) for item in source["annotations"]["list"] if not item.get("builtIn")),
            source=source,
            parameters=tuple(item["name"] for item in source["templating"]["list"] if item["type"] == "textbox"),
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DashboardError(f"{file}: {error!r}") from error


def expand(query: str, variables: Sequence[Variable], chosen: Mapping[str, Sequence[str]], window: Window) -> str:
    """Interpolates all variables of a query. A variable without a chosen value, or with `ALL`, matches everything.

    Chosen values are joined into one regular expression, each quoted, since our queries compare with `=~`. What starts
    with `$__` follows Grafana: `$__interval` is the step, `$__rate_interval` is at least four scrapes
    (https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/). Raises `DashboardError` for
    a name that neither Grafana nor the dashboard knows.
    """
    span = window.end - window.start
    values = {
        "__interval": _duration(window.step),
        "__rate_interval": _duration(max(window.step + SCRAPE_SECONDS, 4 * SCRAPE_SECONDS)),
        "__range": _duration(span),
        "__range_s": f"{span:.0f}",
    } | {variable.name: _choice(variable, chosen.get(variable.name, ())) for variable in variables}

    def fill(reference: re.Match[str]) -> str:
        name = reference["braced"] or reference["plain"]
        if name not in values:
            raise DashboardError(f"{query}: no variable ${name}")
        return values[name]

    return _REFERENCE.sub(fill, query)


def _choice(variable: Variable, chosen: Sequence[str]) -> str:
    if not chosen or ALL in chosen:
        return variable.all_value
    # backslashes are escaped in PromQL strings
    quoted = [re.escape(value).replace("\\-", "-").replace("\\", "\\\\") for value in chosen]
    return quoted[0] if len(quoted) == 1 else f"({'|'.join(quoted)})"


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))}s"


def _panels(sources: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    row = ""
    for source in sources:
        if source["type"] == "row":
            row = source["title"]
            yield from _panels(source.get("panels", []))
            continue
        yield Panel(
            id=source["id"],
            kind=source["type"],
            title=source["title"],
            description=source.get("description", ""),
            unit=source.get("fieldConfig", {}).get("defaults", {}).get("unit", ""),
            row=row,
            grid=Grid(**{side: source["gridPos"][side] for side in "xywh"}),
            targets=tuple(_target(item, source) for item in source.get("targets", [])),
            source=source,
            before=source.get("fieldConfig", {}).get("defaults", {}).get("noValue", ""),
        )


def _target(item: Mapping[str, Any], panel: Mapping[str, Any]) -> Target:
    return Target(
        ref_id=item.get("refId", ""),
        datasource=(item.get("datasource") or panel.get("datasource") or {}).get("uid", ""),
        query=item.get("expr") or item.get("query") or "",
        legend=item.get("legendFormat") or "",
        is_instant=bool(item.get("instant")),
        format=item.get("format") or "time_series",
        is_bound=item.get("refId") in _dashed(panel),
    )


def _dashed(panel: Mapping[str, Any]) -> set[str]:
    return {
        override["matcher"].get("options", "")
        for override in panel.get("fieldConfig", {}).get("overrides", [])
        if override["matcher"]["id"] == "byFrameRefID"
        and any(item["id"] == "custom.lineStyle" for item in override["properties"])
    }


def _variable(source: Mapping[str, Any]) -> Variable:
    query = source["query"]
    written = _LABEL_VALUES.fullmatch(query if isinstance(query, str) else query["query"])
    if written is None:
        raise DashboardError(f"variable {source['name']}: only label_values(series, label) is known")
    return Variable(
        name=source["name"],
        title=source.get("label") or source["name"],
        match=written["match"],
        label=written["label"],
        is_multi=bool(source.get("multi")),
        all_value=source.get("allValue") or ".*",
        is_hidden=source.get("hide") == 2,
    )


def _annotation(source: Mapping[str, Any]) -> Annotation:
    # since schema 42, the query is in `target`, as in panels
    asked = source.get("target") or source
    legend = source.get("titleFormat", "")
    return Annotation(
        name=source["name"],
        colour=source["iconColor"],
        title=legend,
        text=source.get("textFormat", ""),
        target=Target("Anno", source["datasource"]["uid"], asked["expr"], legend, False, "time_series"),
    )
