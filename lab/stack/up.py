"""`glasshouse up` and `glasshouse down`: the native stack."""

import os
import shutil
import sys
import time
from pathlib import Path

import click

from lab.programs import last_line, run_program
from lab.settings import PLACE, START_NATIVE, STOP, LabSettings, SettingError, env_settings, load_settings
from lab.stack import native, started
from lab.stack.database import prepare_postgres
from lab.stack.doctor import native_findings
from lab.stack.leftovers import leftovers, stop_leftovers
from lab.stack.look import answering, print_pages
from lab.stack.native import Home, Program, StackError
from lab.stack.ports import check_ports
from lab.stack.ready import await_ready
from lab.stack.supervisor import Supervisor, configuration

# the directory of the native stack; tests set GLASSHOUSE_HOME to run a second stack
HOME = Home(Path(os.environ.get("GLASSHOUSE_HOME", PLACE / ".stack")).resolve())


@click.command("up")
def up() -> None:
    """Start the native stack, and wait until all its parts are healthy."""
    try:
        start(load_settings())
    except KeyboardInterrupt:
        click.echo(
            f"up: interrupted; the started parts run on: {START_NATIVE} waits for them, {STOP} stops them", err=True
        )
        raise SystemExit(130) from None
    except (StackError, SettingError) as error:
        click.echo(f"up: {error}", err=True)
        raise SystemExit(2) from error
    except OSError as error:
        click.echo(f"up: {error.filename or HOME.path}: {error.strerror or error}", err=True)
        raise SystemExit(2) from error


@click.command("down")
def down() -> None:
    """Stop the native stack. Its data in .stack/ is kept."""
    supervisor = Supervisor(HOME)
    try:
        if not supervisor.is_running():
            if not _stop_leftovers(supervisor, "down"):
                click.echo(f"down: no native stack is running in {HOME.path}")
            return
        supervisor.shut_down()
    except StackError as error:
        click.echo(f"down: {error}", err=True)
        raise SystemExit(1) from error
    # child processes that outlived their parent
    stop_leftovers(leftovers(supervisor.log))
    click.echo("down: the native stack has stopped")


def _stop_leftovers(supervisor: Supervisor, command: str) -> bool:
    """Stops programs that a killed supervisor left running. Returns whether there were any."""
    found = leftovers(supervisor.log)
    if found:
        click.echo(f"{command}: the supervisor was killed and left {', '.join(sorted(found))} running: stopping them")
        stop_leftovers(found)
    return bool(found)


def start(settings: LabSettings) -> None:
    """Writes the configuration, starts everything and waits. Raises `StackError`."""
    supervisor = Supervisor(HOME)
    current, record_file = started.current(settings, _chosen()), HOME.path / "settings.json"
    if supervisor.is_running():
        before = started.recorded(record_file) or current
        click.echo(f"up: the native stack is already running; {STOP} stops it")
        if changes := started.changes(before, current):
            click.echo(f"up: changed since its start: {', '.join(changes)}; {STOP} and {START_NATIVE} apply the change")
        ports = started.ports(before, settings)
        _await_rest(supervisor, ports)
        show_addresses(ports)
        return
    native.check_paths(HOME)
    _stop_leftovers(supervisor, "up")
    for finding in native_findings(HOME):
        if finding.is_too_old:
            raise StackError(f"{finding.what}: {finding.remedy}")
        if finding.level == "warn":
            click.echo(f"up: {finding.what}: {finding.remedy}", err=True)
    check_service_settings(_chosen())
    began = time.monotonic()
    programs = native.programs(settings, HOME, _chosen())
    check_ports(settings, {program.name for program in programs})
    click.echo(f"up: starting {len(programs)} parts; logs are in {HOME.logs}")
    _prepare(settings, programs)
    started.record(record_file, current)
    supervisor.start()
    try:
        await_ready(supervisor, programs, HOME.logs)
    except StackError as error:
        supervisor.shut_down()
        raise StackError(f"{error}; the stack was stopped again") from error
    click.echo(f"up: all parts are healthy after {time.monotonic() - began:.0f} s")
    show_addresses(settings)


def _await_rest(supervisor: Supervisor, ports: LabSettings) -> None:
    """Waits for parts that an interrupted start has left. A part that was stopped or paused on purpose stays so."""
    states = {each["name"]: each["statename"] for each in supervisor.programs()}
    if supervisor.paused() or "STOPPED" in states.values():
        return
    # an older release that is still running has other parts
    await_ready(supervisor, [each for each in native.programs(ports, HOME, {}) if each.name in states], HOME.logs)


def show_addresses(settings: LabSettings) -> None:
    """Prints the addresses that answer."""
    print_pages(settings, list(answering(settings)))
    if native.grafana_home() is None:
        click.echo(
            "Grafana is not on PATH (`grafana` or `grafana-server`): the built-in viewer shows the same dashboards."
        )
    if not shutil.which("tempo"):
        click.echo("Tempo is not on PATH: the built-in trace store keeps traces and logs.")


def _chosen() -> dict[str, str]:
    """The settings of the service, the trace store and Prometheus' retention from the environment or .env."""
    written = env_settings()
    names = (*native.SERVICE_SETTINGS, *native.TRACESTORE_SETTINGS, "PROMETHEUS_RETENTION", "PROMETHEUS_RETENTION_SIZE")
    values = {name: os.environ.get(name, written.get(name)) for name in names}
    # an empty endpoint is a valid setting: it turns traces off
    return {name: value for name, value in values.items() if value or (value == "" and name.startswith("OTEL"))}


def check_service_settings(chosen: dict[str, str]) -> None:
    """Validates the service's settings in a process of the service. Raises `StackError` with its error message."""
    checked = run_program(
        [sys.executable, "-m", "service.settings"],
        env={"PATH": os.environ.get("PATH", ""), **native.SAFE_PATH, **chosen},
        cwd=PLACE,
    )
    if checked.returncode:
        raise StackError(last_line(checked.stderr, checked.stdout))


def _prepare(settings: LabSettings, programs: list[Program]) -> None:
    for directory in (HOME.config, HOME.logs, HOME.data / "gateway", HOME.data / "prometheus", HOME.data / "tempo"):
        directory.mkdir(parents=True, exist_ok=True)
    names = {program.name for program in programs}
    absent = {"grafana", "tempo", "loki"} - names
    (HOME.config / "nginx.conf").write_text(native.gateway_config(settings, HOME), encoding="utf-8")
    (HOME.config / "prometheus.yml").write_text(native.prometheus_config(settings, absent), encoding="utf-8")
    (HOME.config / "alertmanager.yml").write_text(native.alertmanager_config(settings), encoding="utf-8")
    (HOME.config / "tempo.yaml").write_text(native.tempo_config(settings, HOME), encoding="utf-8")
    for node in range(native.REDIS_NODES):
        (HOME.data / f"redis-{node + 1}").mkdir(exist_ok=True)
        (HOME.config / f"redis-{node + 1}.conf").write_text(native.redis_config(settings, HOME, node), encoding="utf-8")
    native.write_grafana_provisioning(settings, HOME)
    prepare_postgres(HOME)
    (HOME.config / "processes.yml").write_text(native.processes_config(HOME), encoding="utf-8")
    # computed again, because PostgreSQL's command line contains the data directory that was just created
    programs = native.programs(settings, HOME, _chosen())
    # headers of the collector may carry passwords
    started.write_private(HOME.config / "supervisord.conf", configuration(programs, HOME, PLACE))
