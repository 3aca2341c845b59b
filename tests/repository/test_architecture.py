"""docs/pictures/architecture.svg agrees with the code and the configuration."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml


@pytest.fixture(scope="module")
def drawing(root: Path) -> ModuleType:
    """The module that draws the picture."""
    spec = importlib.util.spec_from_file_location("architecture", root / "docs/pictures/architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_what_the_code_draws(drawing: ModuleType) -> None:
    assert drawing.FILE.read_text() == drawing.picture(), "make docs redraws it"


def test_a_request_meets_the_layers_in_the_order_of_the_picture(drawing: ModuleType, root: Path) -> None:
    # the app is built from the inside out
    built = (root / "service/app.py").read_text().partition("def __init__")[2]
    places = [built.index(f"{name}(") for name in drawing.REPLICA]
    assert places == sorted(places, reverse=True)


def test_everything_named_in_the_picture_exists(drawing: ModuleType, root: Path) -> None:
    paths = [path for _, path in drawing.REPLICA.values()]
    paths += [note for _, note, _ in drawing.SIGNAL if "/" in note and " " not in note]
    assert len(paths) > 10
    assert [path for path in paths if not (root / path).exists()] == []


def test_a_signal_goes_from_the_service_to_the_inbox(root: Path) -> None:
    prometheus = yaml.safe_load((root / "observability/prometheus/prometheus.yml").read_text())
    alertmanager = yaml.safe_load((root / "observability/alertmanager/alertmanager.yml").read_text())
    assert "todo" in [job["job_name"] for job in prometheus["scrape_configs"]]
    assert "/etc/alerts/*.yml" in prometheus["rule_files"]
    assert prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == ["alertmanager:9093"]
    sent = {hook["url"] for receiver in alertmanager["receivers"] for hook in receiver.get("webhook_configs", [])}
    assert "http://desk:8060/alerts" in sent
