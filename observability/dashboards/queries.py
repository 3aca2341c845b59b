"""PromQL that the dashboards share: what a query is, and the joins and filters that many of them need."""

from dataclasses import dataclass

from observability.dashboards.palette import VERMILLION

# the dead-man's switch always fires, and is neither
REAL_ALERTS = 'severity=~"page|ticket"'


@dataclass(frozen=True)
class Query:
    """A PromQL expression and how its series are named and drawn.

    `legend` may hold `{{label}}`; `colour` is for a legend without, since it is found again by name.
    """

    expr: str
    legend: str
    colour: str = ""
    is_dashed: bool = False
    has_exemplars: bool = False


def threshold(alert: str, legend: str = "threshold") -> Query:
    """The line at which `alert` is raised, from alerts/thresholds.yml."""
    return Query(f'max(alert_threshold{{alert="{alert}"}})', legend, VERMILLION, is_dashed=True)


def by_replica(expr: str, fold: str = "sum") -> str:
    """`expr`, which has one series an instance, by the replicas' names instead of their addresses."""
    return (
        f"{fold} by (replica) ({expr}"
        ' * on (instance) group_left (replica) max by (instance, replica) (service_info{replica=~"$replica"}))'
    )


def quantile(level: float, buckets: str, by: str = "") -> str:
    """A quantile of the rate of the histogram `buckets` over a minute; 0, not a gap, where nothing was counted."""
    labels = f"{by}, le" if by else "le"
    zero = f"0 * sum by ({by}) (rate({buckets}[1m]))" if by else "vector(0)"
    return f"histogram_quantile({level}, sum by ({labels}) (rate({buckets}[1m]))) >= 0 or {zero}"


def or_zero(expr: str) -> str:
    """`expr`, or 0 where it has no series."""
    return f"{expr} or vector(0)"
