"""Every log and store has a limit, in both ways to run. The limits themselves are tested where they are enforced."""

import re
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import yaml

from lab.settings import LabSettings
from lab.stack import native
from lab.stack.native import Home
from lab.stack.supervisor import configuration


def services(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((root / "compose.yaml").read_text())["services"]
    return found


def test_the_log_of_every_container_is_rotated(root: Path) -> None:
    # one runs only at the start, and prints nothing
    unlimited = {name for name, each in services(root).items() if "max-size" not in str(each.get("logging"))}
    assert unlimited == {"gateway-volume"}


def test_the_log_of_every_native_part_is_rotated(tmp_path: Path) -> None:
    home = Home(tmp_path)
    programs = native.programs(LabSettings(), home, {})
    parser = RawConfigParser()
    parser.read_string(configuration(programs, home, tmp_path))
    for each in programs:
        section = parser[f"program:{each.name}"]
        assert (section["stdout_logfile_maxbytes"], section["stdout_logfile_backups"]) == ("10MB", "1")
        assert section["redirect_stderr"] == "true"


def test_prometheus_is_limited_by_age_and_size(root: Path, tmp_path: Path) -> None:
    (natively,) = [
        each.command for each in native.programs(LabSettings(), Home(tmp_path), {}) if each.name == "prometheus"
    ]
    in_docker = " ".join(services(root)["prometheus"]["command"])
    for flag, default in (("time", native.PROMETHEUS_RETENTION), ("size", native.PROMETHEUS_RETENTION_SIZE)):
        name = f"--storage.tsdb.retention.{flag}="
        assert f"{name}{default}" in natively
        assert re.search(re.escape(name) + r"\$\{PROMETHEUS_RETENTION(_SIZE)?:-" + default + r"\}", in_docker)
