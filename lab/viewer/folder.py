"""The folder of dashboards, reloaded when a file changes."""

from functools import lru_cache
from pathlib import Path

from lab.panels import Dashboard, DashboardError, Panel, load_dashboard

# shown in this order; others follow by title
_ORDER = (
    "overview",
    "requests",
    "cache-redis",
    "replicas-gateway",
    "database",
    "service-levels",
    "alert-tuning",
    "telemetry-health",
    "load-test",
    "trace",
)


class Folder:
    """Dashboards of a folder of JSON files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> list[Dashboard]:
        """All dashboards, in display order. Raises `DashboardError` for an unreadable file."""
        found = [_load(file, file.stat().st_mtime_ns) for file in self.path.glob("*.json")]
        return sorted(found, key=lambda item: (_ORDER.index(item.uid) if item.uid in _ORDER else 99, item.title))

    def dashboard(self, uid: str) -> Dashboard:
        """The dashboard of a uid. Raises `DashboardError`."""
        for dashboard in self.all():
            if dashboard.uid == uid:
                return dashboard
        raise DashboardError(f"no dashboard {uid!r} in {self.path}")

    def panel(self, uid: str, panel_id: int) -> tuple[Dashboard, Panel]:
        """A panel and its dashboard. Raises `DashboardError`."""
        dashboard = self.dashboard(uid)
        for panel in dashboard.panels:
            if panel.id == panel_id:
                return dashboard, panel
        raise DashboardError(f"dashboard {uid!r} has no panel {panel_id}")


@lru_cache(maxsize=64)
def _load(file: Path, _modified: int) -> Dashboard:
    return load_dashboard(file)
