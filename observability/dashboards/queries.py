"""PromQL that the dashboards share: the query type, and common joins and filters."""

from dataclasses import dataclass

from observability.dashboards.palette import PURPLE, SKY, VERMILLION

# excludes the dead man's switch, which always fires
REAL_ALERTS = 'severity=~"page|ticket"'
# the service's own histogram rather than a recording rule, because recorded series have no exemplars
SERVED = 'http_server_request_duration_seconds_bucket{http_route!~"/health.*"}'
_LATELY = 'http_server_request_duration_seconds_count{http_route!~"/health.*"}[15s]'
# traffic shares are only shown under traffic that has lasted for 15 s: at its begin and end, the few requests counted
# may all be of one replica
TRAFFIC = f"(sum(rate({_LATELY})) > 0.5 and sum(rate({_LATELY} offset 15s)) > 0.5)"


@dataclass(frozen=True)
class Query:
    """A PromQL expression and the look of its series.

    `legend` may contain `{{label}}`; `colour` applies to all series. A dashed line is a limit: it may be hidden while
    the signal is far from it.
    """

    expr: str
    legend: str
    colour: str = ""
    is_dashed: bool = False
    has_exemplars: bool = False


# unit → (factor, suffix) of values in legends
LEGEND_UNITS = {"percentunit": (100, " %"), "s": (1, " s"), "bytes": (2**-20, " MiB"), "ops": (1, "/s")}


def threshold(alert: str, unit: str = "none", words: str = "threshold", labels: str = "", near: str = "") -> Query:
    """The line at which `alert` fires, from alerts/thresholds.yml; for the rest see `bound`."""
    return bound(f'max(alert_threshold{{alert="{alert}"{labels}}})', unit, words, near)


def bound(value: str, unit: str = "none", words: str = "limit", near: str = "") -> Query:
    """A dashed line at `value`, one series without labels. Its legend has the value, whether the line is drawn or not.

    With `near`, the signal's expression (one series), the line is drawn only while the signal is above a third of it,
    so that a distant limit does not flatten the signal.
    """
    factor, suffix = LEGEND_UNITS.get(unit, (1, ""))
    named = f'count_values("at", round({value} * {factor}, 0.0001))' if factor != 1 else f'count_values("at", {value})'
    drawn = f"({value})"
    if near:
        is_near = f"(({near}) > bool {value} / 3)"
        # far from the limit 0 / 0 is NaN: the series exists, but no line is drawn
        drawn = f"({value} * {is_near} / {is_near})"
    return Query(f"{named} * on () group_left () {drawn}", f"{words} {{{{at}}}}{suffix}", VERMILLION, is_dashed=True)


def by_replica(expr: str, fold: str = "sum") -> str:
    """`expr`, which has one series per instance, by the replicas' names instead of their addresses.

    After a restart of the whole stack an address can have two names for a while; the newest one counts.
    """
    names = 'topk by (instance) (1, timestamp(service_info{replica=~"$replica"})) > bool 0'
    return f"{fold} by (replica) ({expr} * on (instance) group_left (replica) ({names}))"


def quantile(level: float, buckets: str, by: str = "") -> str:
    """A quantile of the histogram `buckets` over one minute; no value without samples."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({level}, sum by ({labels}) (rate({buckets}[1m]))) >= 0"


# of a heatmap's buckets; the others are too close to their neighbours
SHOWN = 'le!~"0.075|0.75"'


def buckets(histogram: str) -> str:
    """The rate of each bucket of a histogram, for a heatmap."""
    labels = histogram[:-1] + ", " if "{" in histogram else histogram + "{"
    return counted(f"sum by (le) (rate({labels}{SHOWN}}}[1m]))", f'sum(rate({labels}le="+Inf"}}[1m]))')


def counted(rates: str, total: str) -> str:
    """The rates of buckets while anything is counted: for only zeros, Grafana draws a legend of infinite numbers."""
    return f"{rates} and on () {total} > 0"


def share_of_replicas() -> Query:
    """The share of all requests that each replica answers, while there is traffic."""
    return Query(f'replica:http_requests:share1m{{replica=~"$replica"}} and on () {TRAFFIC}', "{{replica}}")


def measured(duration: str) -> str:
    """A duration without zeros: 0 means that nothing was measured, and a logarithmic axis cannot show it."""
    return f"{duration} > 0"


def or_none(expr: str) -> str:
    """`expr`, which has one series, or NaN at times at which it has none, so that its last value is not an old one."""
    return f"max({expr}) or vector(0 / 0)"


# 0 for the time in which Prometheus scrapes targets; `vector(0)` is 0 before the stack existed too
ZERO = "0 * group(up)"


def or_zero(expr: str) -> str:
    """`expr`, or 0 if it has no series. `expr` must not have labels."""
    return f"{expr} or {ZERO}"


def gateway_errors() -> list[Query]:
    """Upstream errors, retries and 5xx responses of the gateway, per second."""
    answers = 'gateway_request_duration_seconds_count{kind=~"read|write", status_class="5xx"}'
    return [
        Query(or_zero("sum(rate(gateway_upstream_errors_total[1m]))"), "upstream errors", VERMILLION),
        Query(or_zero("sum(rate(gateway_upstream_retries_total[1m]))"), "retries", SKY),
        Query(or_zero(f"sum(rate({answers}[1m]))"), "5xx", PURPLE),
    ]
