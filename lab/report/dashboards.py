"""The Overview and Load test dashboards over a run's time, drawn by the viewer's own code."""

from html import escape

from lab.prometheus import Prometheus, PrometheusError
from lab.viewer.snapshot import embed, snapshot

UIDS = ["overview", "load-test"]
# enough before the run and after it that its beginning and its end are seen
MARGIN_SECONDS = 10.0


def dashboards(prometheus_url: str, began: float, ended: float) -> str:
    """The fragment of HTML with both dashboards; where Prometheus does not answer, a line that says so."""
    try:
        with Prometheus(prometheus_url) as prometheus:
            return embed(snapshot(prometheus, UIDS, began - MARGIN_SECONDS, ended + MARGIN_SECONDS))
    except PrometheusError as error:
        return f'<p class="cut">Not drawn: {escape(str(error))}</p>'
