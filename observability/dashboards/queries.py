"""PromQL that the dashboards share: what a query is, and the joins and filters that many of them need."""

from dataclasses import dataclass

from observability.dashboards.palette import VERMILLION

# the dead-man's switch always fires, and is neither
REAL_ALERTS = 'severity=~"page|ticket"'
# the service's own buckets of what it served: they carry exemplars, which no recording rule does
SERVED = 'http_server_request_duration_seconds_bucket{http_route!~"/health.*"}'
# a share of the last few requests of a minute jumps to 100 %: there is one while traffic goes on
TRAFFIC = 'sum(rate(http_server_request_duration_seconds_count{http_route!~"/health.*"}[15s])) > 0.5'


@dataclass(frozen=True)
class Query:
    """A PromQL expression and how its series are named and drawn.

    `legend` may hold `{{label}}`; `colour` is that of all its series. A dashed one is a bound: it may be hidden while
    the signal is far from it.
    """

    expr: str
    legend: str
    colour: str = ""
    is_dashed: bool = False
    has_exemplars: bool = False


# (what a value is multiplied by, and what follows it, in a legend)
LEGEND_UNITS = {"percentunit": (100, " %"), "s": (1, " s"), "bytes": (2**-20, " MiB"), "ops": (1, "/s")}


def threshold(alert: str, unit: str = "none", words: str = "threshold", labels: str = "", near: str = "") -> Query:
    """The line at which `alert` fires, from alerts/thresholds.yml; for the rest see `bound`."""
    return bound(f'max(alert_threshold{{alert="{alert}"{labels}}})', unit, words, near)


def bound(value: str, unit: str = "none", words: str = "limit", near: str = "") -> Query:
    """A dashed line at `value`, one series without labels. Its legend says the figure, whether it is drawn or not.

    With `near`, the signal's expression (one series), the line is drawn only while the signal is over a third of it,
    so that it does not squash the signal.
    """
    factor, suffix = LEGEND_UNITS.get(unit, (1, ""))
    named = f'count_values("at", round({value} * {factor}, 0.0001))' if factor != 1 else f'count_values("at", {value})'
    drawn = f"({value})"
    if near:
        is_near = f"(({near}) > bool {value} / 3)"
        # far from it, 0 / 0: a point that is there, and is not drawn
        drawn = f"({value} * {is_near} / {is_near})"
    return Query(f"{named} * on () group_left () {drawn}", f"{words} {{{{at}}}}{suffix}", VERMILLION, is_dashed=True)


def by_replica(expr: str, fold: str = "sum") -> str:
    """`expr`, which has one series an instance, by the replicas' names instead of their addresses.

    After a restart of everything an address can for a while have two names: the one that was seen last counts.
    """
    names = 'topk by (instance) (1, timestamp(service_info{replica=~"$replica"})) > bool 0'
    return f"{fold} by (replica) ({expr} * on (instance) group_left (replica) ({names}))"


def quantile(level: float, buckets: str, by: str = "") -> str:
    """A quantile of the rate of the histogram `buckets` over a minute; a gap where nothing was counted."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({level}, sum by ({labels}) (rate({buckets}[1m]))) >= 0"


def buckets(histogram: str) -> str:
    """A rate for each bucket of a histogram, for a heatmap: without the two that are closest to their neighbours."""
    chosen = histogram[:-1] + ', le!~"0.075|0.75"}' if "{" in histogram else f'{histogram}{{le!~"0.075|0.75"}}'
    return f"sum by (le) (rate({chosen}[1m]))"


def share_of_replicas() -> Query:
    """The part of all requests that each replica answers, while there are any."""
    return Query(f'replica:http_requests:share1m{{replica=~"$replica"}} and on () {TRAFFIC}', "{{replica}}")


def measured(duration: str) -> str:
    """A duration where there is one. 0 means that nothing was measured, and has no place on a logarithmic axis."""
    return f"{duration} > 0"


def or_zero(expr: str) -> str:
    """`expr`, or 0 where it has no series."""
    return f"{expr} or vector(0)"
