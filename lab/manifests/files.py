"""Which files are generated, and their text."""

from pathlib import Path

from lab.manifests import prometheus
from lab.settings import ROOT

COMPONENTS = ROOT / "deploy/kubernetes/components"


def generated() -> dict[Path, str]:
    """The text of every generated file by its path."""
    return {COMPONENTS / "watch/prometheus.yml": prometheus.text(prometheus.configuration())}
