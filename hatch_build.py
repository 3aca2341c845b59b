"""What a wheel carries beside the two packages: the files that the command `glasshouse` reads."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# excludes what only development needs: promtool's cases, the dashboards' source, Docker's files
CARRIED = (
    ".env.example",
    "alerts/catalog",
    "alerts/drills",
    "alerts/recordings",
    "alerts/rules",
    "alerts/runbooks",
    "alerts/thresholds.yml",
    "deploy/kubernetes/components/load",
    "deploy/kubernetes/overlays/load",
    "gateway",
    "observability/alertmanager",
    "observability/exporters",
    "observability/grafana",
    "observability/prometheus",
    "observability/tempo",
    "redis",
)


class CarriedFiles(BuildHookInterface[Any]):
    """Puts them into `lab/carried`, where `lab.settings` looks; an editable installation reads the repository's."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the files to a wheel."""
        if version == "standard":
            build_data["force_include"].update({name: f"lab/carried/{name}" for name in CARRIED})
