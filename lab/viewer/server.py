"""The viewer's server: its page, the dashboards, and the results of their queries.

The browser sends a dashboard, a panel, a time range and variables; the PromQL comes from the committed JSON. So a
client can read only what the dashboards read from Prometheus, and cannot write anything.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import msgspec
from litestar import Litestar, MediaType, Request, Response, get
from litestar.config.allowed_hosts import AllowedHostsConfig
from litestar.config.compression import CompressionConfig
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, InternalServerException
from litestar.params import FromPath
from litestar.static_files import create_static_files_router

from lab.internal_errors import internal_error
from lab.panels import DashboardError, Window
from lab.prometheus import Prometheus, PrometheusError
from lab.viewer.answers import Answer, Mark, answer, marks, values_of
from lab.viewer.assets import STATIC, content_security_policy, page
from lab.viewer.choices import ChoiceError, chosen, window
from lab.viewer.folder import Folder
from lab.viewer.library import library_file
from lab.viewer.tracing import Logs, Traces, TracingError
from lab.viewer.tracing_routes import tracing_routes

_LIBRARY_TYPES = {"uplot.iife.min.js": "text/javascript", "uplot.min.css": "text/css"}


class Listed(msgspec.Struct, frozen=True):
    """A dashboard on the landing page."""

    uid: str
    title: str
    description: str
    panels: int


class Parts(msgspec.Struct, frozen=True, rename="camel"):
    """The data sources of the page. `problem` says why Prometheus cannot be queried; `has_traces` whether a trace store
    responds, so that links to traces work.
    """

    prometheus: str
    problem: str | None
    has_traces: bool


class Asked(msgspec.Struct, frozen=True):
    """The time range and variables in the URL."""

    window: Window
    chosen: Mapping[str, Sequence[str]]


AskedOf = NamedDependency[Asked]


def create_app(folder: Folder, prometheus: Prometheus, tempo: str, hosts: Sequence[str], loki: str = "") -> Litestar:
    """The viewer of a folder of dashboards.
    `hosts` are the accepted `Host` headers, so that no page of another site can reach it by a name that resolves to
    this machine. Logs are queried from `loki`, or if it does not respond from `tempo`, which may be the lab's trace
    store, which has both.
    """
    logs = Logs(*filter(None, (loki, tempo)))

    @get(["/", "/d/{uid:str}", "/traces", "/trace/{uid:str}"], media_type=MediaType.HTML, sync_to_thread=False)
    def show() -> str:
        return page()

    @get("/library/{name:str}", sync_to_thread=False)
    def library(name: FromPath[str]) -> Response[str]:
        if name not in _LIBRARY_TYPES:
            raise HTTPException(status_code=404, detail="no such file")
        return Response(library_file(name), media_type=_LIBRARY_TYPES[name], headers={"Cache-Control": "max-age=3600"})

    @get("/api/dashboards", sync_to_thread=True)
    def dashboards() -> list[Listed]:
        return [Listed(item.uid, item.title, item.description, len(item.panels)) for item in folder.all()]

    @get("/api/dashboards/{uid:str}", sync_to_thread=True)
    def dashboard(uid: FromPath[str]) -> dict[str, Any]:
        return dict(folder.dashboard(uid).source)

    @get("/api/dashboards/{uid:str}/variables", sync_to_thread=True)
    def variables(uid: FromPath[str], asked: AskedOf) -> dict[str, list[str]]:
        return values_of(prometheus, folder.dashboard(uid), asked.window)

    @get("/api/dashboards/{uid:str}/annotations", sync_to_thread=True)
    def annotations(uid: FromPath[str], asked: AskedOf) -> list[Mark]:
        return marks(prometheus, folder.dashboard(uid), asked.chosen, asked.window)

    @get("/api/dashboards/{uid:str}/panels/{panel_id:int}", sync_to_thread=True)
    def panel(uid: FromPath[str], panel_id: FromPath[int], asked: AskedOf) -> Answer:
        return answer(prometheus, *folder.panel(uid, panel_id), asked.chosen, asked.window, logs)

    @get("/api/parts", sync_to_thread=True)
    def parts() -> Parts:
        try:
            prometheus.get("query", query="1")
            problem = None
        except PrometheusError as error:
            problem = str(error)
        return Parts(prometheus.url, problem, _answers(f"{tempo}/ready"))

    return Litestar(
        [
            show,
            library,
            dashboards,
            dashboard,
            variables,
            annotations,
            panel,
            parts,
            tracing_routes(Traces(tempo), logs),
            # an impossible file name: too long, or with a null byte
            create_static_files_router(
                "/static",
                [STATIC],
                exception_handlers={ValueError: _problem(404), 500: _impossible_name},
            ),
        ],
        dependencies={"asked": Provide(_asked, sync_to_thread=False)},
        exception_handlers={
            DashboardError: _problem(404),
            ChoiceError: _problem(400),
            PrometheusError: _problem(502),
            TracingError: _problem(502),
            500: internal_error,
        },
        allowed_hosts=AllowedHostsConfig(list(hosts)),
        compression_config=CompressionConfig("gzip", gzip_compress_level=4),
        before_send=[_harden],
        openapi_config=None,
        logging_config=None,
    )


def _asked(request: Request[Any, Any, Any]) -> Asked:
    parameters = request.query_params
    return Asked(
        window(parameters.get("from", "now-15m"), parameters.get("to", "now"), time.time()),
        chosen(parameters.multi_items()),
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=0.5, trust_env=False).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def _problem(status: int) -> Any:
    def respond(_: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
        return Response({"problem": str(error)}, status_code=status)

    return respond


def _impossible_name(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    """Status 404 for a file name that the system refuses, which Litestar reports as an internal error; else 500."""
    if isinstance(error, InternalServerException):
        return Response({"problem": str(error)}, status_code=404)
    return internal_error(request, error)


async def _harden(message: Any, _: Any) -> None:
    if message["type"] == "http.response.start":
        message.setdefault("headers", []).extend(
            [
                (b"content-security-policy", content_security_policy().encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"no-referrer"),
            ]
        )
