"""Rules, cases and routes pass promtool and amtool, of the oldest and newest supported versions."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from lab.alerts.thresholds import ALERTS
from lab.settings import ROOT
from tests.docker import require_docker

ROUTES = ROOT / "observability" / "alertmanager" / "alertmanager.yml"
RULE_FILES = [*sorted(ALERTS.glob("rules/*.yml")), *sorted((ROOT / "observability/prometheus/rules").glob("*.yml"))]


@dataclass(frozen=True)
class Tools:
    """promtool and amtool of one version: those on PATH, or each in a Docker image."""

    images: dict[str, str]

    def run(self, tool: str, *arguments: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Runs a tool in `folder`, a copy of the repository. Paths are relative to it."""
        command: Sequence[str | Path] = [tool, *arguments]
        if self.images:
            mounted = ["-v", f"{folder}:{folder}:ro", "-w", folder, "--network", "none", "--entrypoint", tool]
            command = ["docker", "run", "--rm", *mounted, self.images[tool], *arguments]
        return subprocess.run(
            [str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=280, check=False
        )


def _images() -> dict[str, str]:
    compose = (ROOT / "compose.yaml").read_text().split()
    wanted = {"promtool": "prom/prometheus:", "amtool": "prom/alertmanager:"}
    return {tool: next(word for word in compose if word.startswith(image)) for tool, image in wanted.items()}


@pytest.fixture(
    scope="module", params=["installed", pytest.param("images", marks=[pytest.mark.docker, pytest.mark.long])]
)
def tools(request: pytest.FixtureRequest) -> Tools:
    """The installed tools, and those of the images in compose.yaml."""
    if request.param == "installed":
        missing = [tool for tool in ("promtool", "amtool") if not shutil.which(tool)]
        if missing:
            pytest.skip(f"{missing} not installed: lab/stack/install.sh")
        return Tools({})
    images = _images()
    require_docker(*images.values())
    return Tools(images)


def test_promtool_lints_the_alert_rules(tools: Tools) -> None:
    done = tools.run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_amtool_accepts_the_configuration(tools: Tools) -> None:
    done = tools.run("amtool", "check-config", ROUTES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=ErrorRatioHigh", "severity=page", "part=service"), "page"),
        (("alertname=RedisNodeDown", "severity=ticket", "part=redis"), "ticket"),
        (("alertname=AvailabilityBurnSlow", "severity=ticket", "part=slo"), "ticket"),
        (("alertname=DeadMansSwitch", "severity=none", "part=telemetry"), "heartbeat"),
        (("alertname=SomebodysOwn", "severity=critical"), "inbox"),
    ],
)
def test_an_alert_is_routed_to_the_receiver_of_its_severity(
    tools: Tools, labels: tuple[str, ...], receiver: str
) -> None:
    done = tools.run(
        "amtool", "config", "routes", "test", f"--config.file={ROUTES}", f"--verify.receivers={receiver}", *labels
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_inhibitions_refer_only_to_existing_alerts() -> None:
    rules = "".join(file.read_text() for file in ALERTS.glob("rules/*.yml"))
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    matchers = [
        matcher
        for inhibition in yaml.safe_load(ROUTES.read_text())["inhibit_rules"]
        for matcher in (*inhibition["source_matchers"], *inhibition["target_matchers"])
        if matcher.startswith("alertname")
    ]
    # each alternative of a regular expression, including those in its groups
    names = {name for matcher in matchers for name in _alternatives(matcher.partition("=")[2].strip(' ~"'))}
    assert len(names) > 10
    assert names - alerts == set()


def _alternatives(pattern: str) -> set[str]:
    """All strings that a pattern of names, `|` and groups matches."""
    if group := re.search(r"\(([^()]*)\)", pattern):
        before, after = pattern[: group.start()], pattern[group.end() :]
        return set().union(*(_alternatives(f"{before}{branch}{after}") for branch in group[1].split("|")))
    return set(pattern.split("|"))
