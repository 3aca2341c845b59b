"""Dashboards of a past time range in a page that needs no server, such as a report.

`embed(snapshot(prometheus, ["overview"], start, end))` is a fragment of HTML to put anywhere in a body: the scripts and
style that the viewer serves, and the answers of all panels as data. It stands once in a page, since it brings an import
map, and looks dark or light as the reader's system does, unless the page sets `data-theme` on its outer element.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from lab.panels import DASHBOARDS, Window
from lab.prometheus import Prometheus, PrometheusError
from lab.viewer.answers import Answer, Choices, Mark, answer, marks
from lab.viewer.assets import inline_import_map, style
from lab.viewer.choices import MAX_POINTS
from lab.viewer.folder import Folder
from lab.viewer.library import LICENCE, library_file


class Drawn(msgspec.Struct, frozen=True):
    """One dashboard: its JSON, the answer of each panel by id, and what its annotations mark."""

    dashboard: dict[str, Any]
    answers: dict[str, Answer]
    marks: Sequence[Mark]


class Snapshot(msgspec.Struct, frozen=True):
    """The data of dashboards between `start` and `end`, in unix seconds."""

    start: float
    end: float
    dashboards: Sequence[Drawn]


def snapshot(
    prometheus: Prometheus,
    uids: Sequence[str],
    start: float,
    end: float,
    variables: Choices | None = None,
    folder: Folder | None = None,
) -> Snapshot:
    """Runs all queries of dashboards over a time range in unix seconds.

    `variables` maps a variable's name to the chosen values; a variable without an entry has all values. If a query
    fails, also because Prometheus does not respond, its panel shows the reason. Raises `DashboardError` for an unknown
    uid.
    """
    window = Window.of(start, end, MAX_POINTS)
    known = folder or Folder(DASHBOARDS)
    return Snapshot(start, end, [_drawn(prometheus, known, uid, variables or {}, window) for uid in uids])


def embed(shown: Snapshot) -> str:
    """Self-contained HTML that draws a snapshot. Raises `LibraryError` if uPlot's files are missing."""
    return "\n".join(
        [
            '<div class="gh">',
            f"<!-- {LICENCE} -->",
            f"<style>{library_file('uplot.min.css')}\n{style()}</style>",
            f"<script>{library_file('uplot.iife.min.js')}</script>",
            f'<script type="importmap">{inline_import_map()}</script>',
            f'<script type="application/json" class="gh-snapshot">{_as_data(shown)}</script>',
            '<script type="module">import "glasshouse/embedded.js";</script>',
            "</div>",
        ]
    )


def _as_data(shown: Snapshot) -> str:
    # inside a script element, `</script` would end it and `<!--` would change its parsing, so `<` is escaped
    return msgspec.json.encode(shown).decode().replace("<", "\\u003c")


def _drawn(prometheus: Prometheus, folder: Folder, uid: str, chosen: Choices, window: Window) -> Drawn:
    dashboard = folder.dashboard(uid)
    try:
        marked: Sequence[Mark] = marks(prometheus, dashboard, chosen, window)
    except PrometheusError:
        # each panel says that Prometheus does not respond
        marked = ()
    answers = {str(panel.id): answer(prometheus, dashboard, panel, chosen, window) for panel in dashboard.panels}
    return Drawn(dict(dashboard.source), answers, marked)
