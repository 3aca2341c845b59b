"""A client of Prometheus' HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec


class PrometheusError(Exception):
    """A query that failed; the message says which and why."""


@dataclass(frozen=True)
class Series:
    """One series of a result: its labels, and (unix seconds, value) points ordered by time."""

    labels: Mapping[str, str]
    points: list[tuple[float, float]]

    @property
    def value(self) -> float:
        """The newest value."""
        return self.points[-1][1]


class _Body(msgspec.Struct, frozen=True):
    """The body of every response of the API."""

    status: str
    data: Any = None
    error: str = ""


@contextmanager
def well_formed(url: str) -> Iterator[None]:
    """Raises `PrometheusError` where the block finds a response to have another form than the API's."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PrometheusError(f"{url} does not answer as Prometheus does: {error!r}") from error


class Prometheus:
    """A client of one Prometheus. Use it as a context manager, or `close()` it."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self.url = url.rstrip("/")
        try:
            self._http = httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)
        except httpx.InvalidURL as error:
            raise PrometheusError(f"{url} is no address: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """The `data` of an API response. Raises `PrometheusError`."""
        try:
            answer = self._http.get(f"/api/v1/{path}", params=params)
            body = msgspec.json.decode(answer.content, type=_Body)
        except httpx.TimeoutException as error:
            raise PrometheusError(f"{self.url} took longer than {self._http.timeout.read:g} s to answer") from error
        except httpx.HTTPError as error:
            raise PrometheusError(f"{self.url} does not answer: {error}") from error
        except (ValueError, RecursionError) as error:
            raise PrometheusError(
                f"{self.url} does not answer as Prometheus does: status {answer.status_code}, {error}"
            ) from error
        if body.status != "success":
            raise PrometheusError(f"{params.get('query', path)}: {body.error or answer.status_code}")
        return body.data

    def query(self, promql: str, at: float | None = None) -> list[Series]:
        """An instant query, at unix seconds `at` or now. Raises `PrometheusError`."""
        data = self.get("query", query=promql, **({} if at is None else {"time": at}))
        with well_formed(self.url):
            if data["resultType"] == "scalar":
                return [Series({}, [_point(data["result"])])]
            return [Series(row["metric"], [_point(row["value"])]) for row in data["result"]]

    def value(self, promql: str, default: float = 0.0) -> float:
        """The first series' value, or `default` if there is none. Raises `PrometheusError`."""
        series = self.query(promql)
        return series[0].value if series else default

    def query_range(self, promql: str, start: float, end: float, step: float) -> list[Series]:
        """A range query; times in unix seconds, step in seconds. Raises `PrometheusError`."""
        data = self.get("query_range", query=promql, start=start, end=end, step=step)
        with well_formed(self.url):
            return [Series(row["metric"], [_point(pair) for pair in row["values"]]) for row in data["result"]]


def is_starting(prometheus: Prometheus) -> bool:
    """Whether Prometheus has just been started. Alerts with a condition wait until its stack is up, and
    rates over a minute are incomplete.

    Raises `PrometheusError`.
    """
    return any(series.value == 1 for series in prometheus.query("prometheus:starting"))


def _point(pair: list[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
