"""The logs of the native stack are bounded: the gateway under a real supervisor."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from lab.settings import ROOT, LabSettings
from lab.stack.native import Home, gateway_config, programs
from lab.stack.supervisor import Supervisor, configuration
from testbed import free_port, wait_for

ROTATED_AT = "stdout_logfile_maxbytes=10MB"
FEW_BYTES, REQUESTS = 20_000, 300


@dataclass(frozen=True)
class GatewayAlone:
    """A gateway that runs without replicas."""

    url: str
    logs: Path

    def written(self) -> str:
        """Its log, and the rotated logs."""
        return "".join(file.read_text() for file in sorted(self.logs.glob("gateway.log*")))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayAlone]:
    """Only the native gateway, under supervisor, which rotates its log after some kilobytes."""
    home = Home(tmp_path / "home")
    # no process listens on the replicas' ports
    settings = LabSettings(gateway_port=free_port(), gateway_status_port=free_port(), todo_port=1)
    for directory in (home.config, home.logs, home.data / "gateway"):
        directory.mkdir(parents=True)
    (home.config / "nginx.conf").write_text(gateway_config(settings, home))
    parts = [part for part in programs(settings, home, {}) if part.name == "gateway"]
    text = configuration(parts, home, ROOT)
    assert ROTATED_AT in text
    (home.config / "supervisord.conf").write_text(text.replace(ROTATED_AT, f"stdout_logfile_maxbytes={FEW_BYTES}"))
    supervisor = Supervisor(home)
    supervisor.start()
    try:
        wait_for(lambda: _answers(settings.url("gateway")), what="the gateway")
        yield GatewayAlone(settings.url("gateway"), home.logs)
    finally:
        supervisor.shut_down()


def test_the_supervisor_rotates_the_gateways_access_log(gateway: GatewayAlone) -> None:
    with httpx.Client(base_url=gateway.url, trust_env=False) as client:
        for number in range(REQUESTS):
            client.get(f"/tasks/{number}")
    last = f'"uri":"/tasks/{REQUESTS - 1}"'
    wait_for(lambda: last in gateway.written(), what="the last request's line")
    wait_for((gateway.logs / "gateway.log.1").exists, what="the rotated log")
    # desk counts and truncates the other one (lab/desk/gateway_log.py)
    assert {file.name for file in gateway.logs.iterdir()} == {
        "gateway-requests.log",
        "gateway.log",
        "gateway.log.1",
        "supervisord.log",
    }


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/tasks", trust_env=False).status_code > 0
    except httpx.TransportError:
        return False
