"""The generated files."""

from pathlib import Path

from lab.manifests import operator, prometheus, scale
from lab.settings import ROOT

COMPONENTS = ROOT / "deploy/kubernetes/components"


def generated() -> dict[Path, str]:
    """The content of every generated file by path."""
    return {
        COMPONENTS / "watch/prometheus.yml": prometheus.text(prometheus.configuration()),
        COMPONENTS / "operator/rules.yaml": operator.rules(),
        COMPONENTS / "operator/monitors.yaml": operator.monitors(),
        COMPONENTS / "scale/metrics-store/prometheus.yml": scale.prometheus(),
        COMPONENTS / "scale/object-storage/tempo.yaml": scale.tempo(),
        COMPONENTS / "scale/object-storage/loki.yaml": scale.loki(),
    }
