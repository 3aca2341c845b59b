"""Where the parts of the stack are, as the environment or `.env` says."""

import os
import re
from dataclasses import dataclass, fields
from pathlib import Path

from lab.env_file import EnvFileError, read_env_file

_PACKAGE = Path(__file__).resolve().parent
_CARRIED = _PACKAGE / "carried"
# whether this is a wheel's code and no clone's; the wheel carries what a clone has beside the packages (hatch_build.py)
IS_INSTALLED = _CARRIED.is_dir()
# where configuration, rules and dashboards are
ROOT = _CARRIED if IS_INSTALLED else _PACKAGE.parent
# where `.env`, `.stack/` and `runs/` are: in the clone; without one, in the current folder
PLACE = Path.cwd() if IS_INSTALLED else ROOT
# for messages: the commands that start and stop the stack here
START_NATIVE, START, STOP = (
    ("`glasshouse up`", "`glasshouse up`", "`glasshouse down`")
    if IS_INSTALLED
    else ("`make native`", "`make native` or `make up`", "`make down`")
)


class SettingError(ValueError):
    """A setting that does not parse; the message names it and says what is allowed."""


@dataclass(frozen=True)
class LabSettings:
    """Ports of the stack's parts on 127.0.0.1; a field `gateway_port` is set by `GATEWAY_PORT`."""

    gateway_port: int = 5000
    grafana_port: int = 3000
    prometheus_port: int = 9090
    alertmanager_port: int = 9093
    tempo_port: int = 3200
    viewer_port: int = 8050
    desk_port: int = 8060
    locust_port: int = 8089
    todo_port: int = 8000
    metrics_port: int = 9464
    redis_port: int = 7000
    postgres_port: int = 5433
    redis_exporter_port: int = 9121
    gateway_exporter_port: int = 9113
    postgres_exporter_port: int = 9187
    host_exporter_port: int = 9100
    process_exporter_port: int = 9256
    gateway_status_port: int = 5001
    otlp_port: int = 4318
    loki_port: int = 3100
    tempo_grpc_port: int = 9095

    def url(self, part: str) -> str:
        """`http://127.0.0.1:PORT` of a part, named as its port field without `_port`."""
        return f"http://127.0.0.1:{getattr(self, f'{part}_port')}"


def load_settings(root: Path = PLACE) -> LabSettings:
    """Settings from the environment, then `.env` in `root`, then the defaults. Raises `SettingError`."""
    written = env_settings(root)
    ports: dict[str, int] = {}
    for field in fields(LabSettings):
        name = field.name.upper()
        text = os.environ.get(name) or written.get(name)
        if text:
            ports[field.name] = _port(name, text.strip())
    return LabSettings(**ports)


def env_settings(root: Path = PLACE) -> dict[str, str]:
    """The settings in the repo's `.env`; none where there is no such file. Raises `SettingError`."""
    try:
        return read_env_file(root / ".env")
    except EnvFileError as error:
        raise SettingError(str(error)) from error


def _port(name: str, text: str) -> int:
    # as Compose: int() also accepts the digits of other scripts, and fails for thousands of digits
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= 65535:
        raise SettingError(f"{name}={text!r}: must be a port, a number from 1 to 65535")
    return int(text)
