"""The dashboards as code: one module per dashboard, and shared modules. `make dashboards` writes their JSON."""

from observability.dashboards import (
    alert_tuning,
    cache_redis,
    database,
    load_test,
    overview,
    replicas_gateway,
    requests,
    service_levels,
    telemetry_health,
    trace,
)
from observability.dashboards.frame import Dashboard

__all__ = ["DASHBOARDS", "Dashboard"]

DASHBOARDS: tuple[Dashboard, ...] = (
    overview.DASHBOARD,
    requests.DASHBOARD,
    cache_redis.DASHBOARD,
    replicas_gateway.DASHBOARD,
    database.DASHBOARD,
    service_levels.DASHBOARD,
    alert_tuning.DASHBOARD,
    telemetry_health.DASHBOARD,
    load_test.DASHBOARD,
    trace.DASHBOARD,
)
