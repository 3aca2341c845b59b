"""The Overview and Load test dashboards for the time of a run, drawn by the viewer's code."""

from html import escape

from lab.prometheus import Prometheus, PrometheusError
from lab.viewer.snapshot import embed, snapshot

UIDS = ["overview", "load-test"]
# shown before and after the run, so that its start and end are visible
MARGIN_SECONDS = 10.0


def dashboards(prometheus_url: str, began: float, ended: float) -> str:
    """An HTML fragment with both dashboards; one line of text if Prometheus does not respond."""
    try:
        with Prometheus(prometheus_url) as prometheus:
            return embed(snapshot(prometheus, UIDS, began - MARGIN_SECONDS, ended + MARGIN_SECONDS))
    except PrometheusError as error:
        return f'<p class="cut">Not drawn: {escape(str(error))}</p>'
