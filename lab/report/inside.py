"""Reads the server-side figures of a run from Prometheus."""

import time
from collections.abc import Callable
from typing import Any

from lab.prometheus import Prometheus, PrometheusError, well_formed
from lab.runs.queries import REAL_ALERTS, hit_ratio_query
from lab.runs.record import Alert, Inside, Trace

# longer than two scrape intervals, so that it includes the last scrape before the run
BEFORE_SECONDS = 12.0
SCRAPE_WAIT_SECONDS = 15.0
# a target that was not scraped for this long is down, and not waited for
STALE_SECONDS = 20.0
# the targets whose counters are read
JOBS = ("todo", "gateway")
_UP = f'up{{job=~"{"|".join(JOBS)}"}}'
# the time of the oldest last scrape among them; 0 if there is none
# (timestamp() returns the sample's time only for a plain selector)
SCRAPED = f"min(timestamp({_UP}) and {_UP} == 1)"
SLOWEST = 10
SERVED = 'http_server_request_duration_seconds_count{http_route!~"/health.*"}'


def wait_for_first_scrapes(prometheus_url: str, after: float, is_stopped: Callable[[], bool]) -> None:
    """Waits until the counters include all requests before `after`. Returns at once if Prometheus does not respond."""
    with Prometheus(prometheus_url, timeout=3.0) as prometheus:
        try:
            # after a start, a target without a scrape has no value that the rise could begin from
            deadline = time.monotonic() + SCRAPE_WAIT_SECONDS
            while _has_unknown_target(prometheus) and not is_stopped() and time.monotonic() < deadline:
                time.sleep(0.25)
            if prometheus.value(SCRAPED) > after - STALE_SECONDS:
                _wait_for_scrapes(prometheus, after, is_stopped)
        except PrometheusError:
            return


def _has_unknown_target(prometheus: Prometheus) -> bool:
    """Whether a replica or the gateway was never scraped, or no target was discovered yet. Raises `PrometheusError`."""
    targets = prometheus.get("targets", state="active")
    with well_formed(prometheus.url):
        found = targets["activeTargets"]
        return not found or any(each["labels"]["job"] in JOBS and each["health"] == "unknown" for each in found)


def _wait_for_scrapes(prometheus: Prometheus, after: float, is_stopped: Callable[[], bool]) -> bool:
    """Waits, unless stopped, until replicas and gateway were scraped after `after`, unix seconds.

    Raises `PrometheusError`.
    """
    deadline = time.monotonic() + SCRAPE_WAIT_SECONDS
    while (scraped := prometheus.value(SCRAPED)) <= after:
        if not scraped or is_stopped() or time.monotonic() > deadline:
            return False
        time.sleep(0.25)
    return True


def rise(prometheus: Prometheus, selector: str, began: float, ended: float) -> dict[tuple[tuple[str, str], ...], float]:
    """The increase of each counter from the last scrape before `began` to the last before `ended`.

    From the raw samples, because increase() extrapolates to the ends of its window, so that its results are no whole
    numbers. After a restart (a value that falls), and for new series, a counter starts at 0.
    Raises `PrometheusError`.
    """
    window = round(ended - began + BEFORE_SECONDS) + 1
    data = prometheus.get("query", query=f"{selector}[{window}s]", time=ended)
    return {tuple(sorted(row["metric"].items())): _rise(row["values"], began) for row in data["result"]}


def _rise(points: list[list[Any]], began: float) -> float:
    before = [float(value) for at, value in points if at <= began]
    last = before[-1] if before else 0.0
    total = 0.0
    for value in (float(value) for at, value in points if at > began):
        total += value - last if value >= last else value
        last = value
    return total


def look_inside(
    prometheus_url: str, run: str, began: float, load_began: float, ended: float, is_stopped: Callable[[], bool]
) -> Inside:
    """All counts for a run, after the last scrape unless it was stopped. What is not available is in `missing`."""
    inside = Inside()
    with Prometheus(prometheus_url, timeout=3.0) as prometheus:
        try:
            complete = _wait_for_scrapes(prometheus, ended, is_stopped)
        except PrometheusError as error:
            inside.missing.append(f"all server-side figures: {error}")
            return inside
        if not complete:
            inside.missing.append("the last seconds of the counters: not scraped yet, or a target is down")
        now = time.time()
        parts: list[tuple[str, Callable[[], None]]] = [
            ("requests counted inside", lambda: _counts(prometheus, inside, began, now)),
            ("other runs", lambda: _other_runs(prometheus, inside, run, began, now)),
            ("cache hit ratio", lambda: _hit_ratio(prometheus, inside, now - load_began, now)),
            ("latency inside", lambda: _latency(prometheus, inside, now - load_began, now)),
            ("alerts", lambda: _alerts(prometheus, inside, load_began, now)),
            ("slowest traces", lambda: _slowest(prometheus, inside, load_began, now)),
        ]
        for what, ask in parts:
            try:
                with well_formed(prometheus.url):
                    ask()
            except PrometheusError as error:
                inside.missing.append(f"{what}: {error}")
    return inside


def _counts(prometheus: Prometheus, inside: Inside, began: float, ended: float) -> None:
    served = rise(prometheus, SERVED, began, ended)
    if served:
        inside.requests = round(sum(served.values()))
    by_instance: dict[str, float] = {}
    for labels, count in served.items():
        instance = dict(labels).get("instance", "?")
        by_instance[instance] = by_instance.get(instance, 0.0) + count
    replicas = {each.labels["instance"]: each.labels["replica"] for each in prometheus.query("service_info", at=ended)}
    total = sum(by_instance.values())
    if total:
        inside.shares = {
            replicas.get(instance, instance): count / total for instance, count in sorted(by_instance.items())
        }
    rejected = rise(prometheus, 'rate_limit_decisions_total{decision="rejected"}', began, ended)
    inside.rejected = round(sum(rejected.values()))
    inside.gateway_requests = _gateway_count(prometheus, began, ended)
    retries = rise(prometheus, "gateway_upstream_retries_total", began, ended)
    inside.retries = round(sum(retries.values())) if retries else None


def _gateway_count(prometheus: Prometheus, began: float, ended: float) -> int | None:
    requests = rise(prometheus, "nginx_http_requests_total", began, ended)
    if not requests:
        return None
    # nginx also counts the exporter's own requests, one for each scrape
    return round(sum(requests.values())) - _scrapes(prometheus, "nginx_http_requests_total", began, ended)


def _other_runs(prometheus: Prometheus, inside: Inside, run: str, began: float, ended: float) -> None:
    for name in ("load_requests_sent_total", "load_preparation_requests_total"):
        for labels, count in rise(prometheus, f'{name}{{run!="{run}"}}', began, ended).items():
            if count:
                other = dict(labels).get("run", "?")
                inside.other_runs[other] = inside.other_runs.get(other, 0) + round(count)


def _scrapes(prometheus: Prometheus, selector: str, began: float, ended: float) -> int:
    window = round(ended - began + BEFORE_SECONDS) + 1
    data = prometheus.get("query", query=f"{selector}[{window}s]", time=ended)
    return sum(1 for row in data["result"] for at, _ in row["values"] if at > began)


def _hit_ratio(prometheus: Prometheus, inside: Inside, seconds: float, ended: float) -> None:
    answer = prometheus.query(hit_ratio_query(seconds), at=ended)
    if answer and answer[0].value == answer[0].value:
        inside.hit_ratio = answer[0].value
    inside.lookups = round(sum(rise(prometheus, "cache_requests_total", ended - seconds, ended).values()))


def _latency(prometheus: Prometheus, inside: Inside, seconds: float, ended: float) -> None:
    buckets = 'http_server_request_duration_seconds_bucket{http_route!~"/health.*"}'
    for quantile in (50, 95, 99):
        query = f"histogram_quantile({quantile / 100}, sum by (le) (increase({buckets}[{max(15, round(seconds))}s])))"
        answer = prometheus.query(query, at=ended)
        if answer and answer[0].value == answer[0].value:
            setattr(inside, f"p{quantile}", answer[0].value)


def _alerts(prometheus: Prometheus, inside: Inside, began: float, ended: float) -> None:
    thresholds = {
        each.labels["alert"]: each.value
        for each in prometheus.query("alert_threshold", at=ended)
        if "alert" in each.labels
    }
    for series in prometheus.query_range(f"ALERTS{{{REAL_ALERTS}}}", began, ended, 5):
        labels = series.labels
        inside.alerts.append(
            Alert(
                labels["alertname"],
                labels.get("severity", ""),
                labels["alertstate"],
                series.points[0][0],
                series.points[-1][0],
                thresholds.get(labels["alertname"]),
            )
        )
    inside.alerts.sort(key=lambda each: (each.state, each.name, each.began))


def _slowest(prometheus: Prometheus, inside: Inside, began: float, ended: float) -> None:
    data = prometheus.get(
        "query_exemplars", query="http_server_request_duration_seconds_bucket", start=began, end=ended
    )
    kept = {
        exemplar["labels"]["trace_id"]: Trace(
            exemplar["labels"]["trace_id"],
            float(exemplar["value"]),
            row["seriesLabels"].get("http_request_method", ""),
            row["seriesLabels"].get("http_route", ""),
            row["seriesLabels"].get("http_response_status_code", ""),
        )
        for row in data
        for exemplar in row["exemplars"]
        if "trace_id" in exemplar["labels"]
    }
    inside.slowest = sorted(kept.values(), key=lambda each: -each.seconds)[:SLOWEST]
