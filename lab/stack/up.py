"""`glasshouse up` and `glasshouse down`: the native stack."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from dataclasses import fields
from hashlib import sha256
from pathlib import Path

import click
import httpx

from lab.settings import ROOT, LabSettings, SettingError, load_settings, read_env_file
from lab.stack import native
from lab.stack.native import Home, Program, StackError
from lab.stack.supervisor import Supervisor, configuration

# where a native stack keeps its data; another one is for a second stack beside it, as the tests start
HOME = Home(Path(os.environ.get("GLASSHOUSE_HOME", ROOT / ".stack")).resolve())
READY_SECONDS = 90


@click.command("up")
def up() -> None:
    """Start the native stack, and wait until every part of it is healthy."""
    try:
        start(load_settings())
    except (StackError, SettingError) as error:
        click.echo(f"up: {error}", err=True)
        raise SystemExit(2) from error


@click.command("down")
def down() -> None:
    """Stop the native stack. What it keeps in .stack/ stays."""
    supervisor = Supervisor(HOME)
    if not supervisor.is_running():
        click.echo("down: no native stack runs")
        return
    try:
        supervisor.shut_down()
    except StackError as error:
        click.echo(f"down: {error}", err=True)
        raise SystemExit(1) from error
    click.echo("down: the native stack has stopped")


def start(settings: LabSettings) -> None:
    """Writes the configuration, starts everything and waits. Raises `StackError`."""
    supervisor = Supervisor(HOME)
    if supervisor.is_running():
        click.echo("up: the native stack runs already; `make down` stops it")
        show_addresses(settings)
        return
    import service.settings  # noqa: PLC0415 (the workbench's image starts no stack, and has no service)

    try:
        service.settings.load_settings(_chosen())
    except service.settings.SettingError as error:
        raise StackError(str(error)) from error
    began = time.monotonic()
    programs = native.programs(settings, HOME, _chosen())
    _check_ports(settings, programs)
    _prepare(settings, programs)
    supervisor.start()
    _await_ready(supervisor, programs)
    click.echo(f"up: every part is healthy after {time.monotonic() - began:.0f} s")
    show_addresses(settings)


def show_addresses(settings: LabSettings) -> None:
    """Prints where to look."""
    rows = [("todo API", settings.url("gateway") + "/tasks")]
    if native.grafana_home() is None:
        rows.append(("dashboards (viewer)", settings.url("viewer")))
    else:
        rows.append(("dashboards (Grafana)", settings.url("grafana")))
    rows += [
        ("Prometheus", settings.url("prometheus")),
        ("Alertmanager", settings.url("alertmanager")),
        ("alert inbox", settings.url("desk")),
    ]
    tempo = shutil.which("tempo")
    rows.append(("Tempo" if tempo else "traces (Tempo's API)", settings.url("tempo")))
    for name, address in rows:
        click.echo(f"  {name:22} {address}")
    if native.grafana_home() is None:
        click.echo(
            "Grafana is not on PATH (`grafana` or `grafana-server`): the built-in viewer shows the same dashboards."
        )
    if not tempo:
        click.echo("Tempo is not on PATH: a store of the lab keeps traces and logs, for this machine only.")


def _chosen() -> dict[str, str]:
    """What the environment or .env sets of the service's settings and for how long Prometheus keeps what it scraped."""
    written = read_env_file(ROOT)
    names = (*native.SERVICE_SETTINGS, *native.TRACESTORE_SETTINGS, "PROMETHEUS_RETENTION", "PROMETHEUS_RETENTION_SIZE")
    values = {name: os.environ.get(name, written.get(name)) for name in names}
    # no endpoint is a setting too: no traces
    return {name: value for name, value in values.items() if value or (value == "" and name.startswith("OTEL"))}


def _check_ports(settings: LabSettings, programs: list[Program]) -> None:
    """Raises `StackError`, naming every port that is taken and the setting that moves it."""
    names = {program.name for program in programs}
    wanted: dict[int, str] = {}
    for field in fields(LabSettings):
        part, port = field.name.removesuffix("_port"), getattr(settings, field.name)
        count = {"todo": native.REPLICAS, "metrics": native.REPLICAS, "redis": native.REDIS_NODES}.get(part, 1)
        if part == "locust" or (part in {"grafana", "viewer", "loki"} and part not in names):
            continue
        if part == "tempo_grpc" and "tempo" not in names:
            continue
        for n in range(count):
            wanted[port + n] = field.name.upper()
    # a node of the cluster takes a second port, for the others
    for n in range(native.REDIS_NODES):
        wanted[settings.redis_port + 10000 + n] = "REDIS_PORT"
    taken = [f"{port} ({name})" for port, name in wanted.items() if _is_taken(port)]
    if taken:
        raise StackError(
            f"port {', '.join(taken)} is taken by another program: stop it, or set another in the environment or .env"
        )


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return True
    return False


def _prepare(settings: LabSettings, programs: list[Program]) -> None:
    for directory in (HOME.config, HOME.logs, HOME.data / "gateway", HOME.data / "prometheus", HOME.data / "tempo"):
        directory.mkdir(parents=True, exist_ok=True)
    names = {program.name for program in programs}
    absent = {"grafana", "tempo", "loki"} - names
    (HOME.config / "nginx.conf").write_text(native.gateway_config(settings, HOME))
    (HOME.config / "prometheus.yml").write_text(native.prometheus_config(settings, absent))
    (HOME.config / "alertmanager.yml").write_text(native.alertmanager_config(settings))
    (HOME.config / "tempo.yaml").write_text(native.tempo_config(settings, HOME))
    for node in range(native.REDIS_NODES):
        (HOME.data / f"redis-{node + 1}").mkdir(exist_ok=True)
        (HOME.config / f"redis-{node + 1}.conf").write_text(native.redis_config(settings, HOME, node))
    native.write_grafana_provisioning(settings, HOME)
    _prepare_postgres()
    (HOME.config / "processes.yml").write_text(native.processes_config(HOME))
    # the data of PostgreSQL has just been placed, which its command names
    programs = native.programs(settings, HOME, _chosen())
    (HOME.config / "supervisord.conf").write_text(configuration(programs, HOME, ROOT))


def _prepare_postgres() -> None:
    """Makes the database where there is none yet, in a place that PostgreSQL's user reaches."""
    link, user = HOME.data / "postgres", native.postgres_user()
    data = native.postgres_data(HOME)
    if (data / "PG_VERSION").exists():
        return
    if user and not _reaches(user, HOME.data):
        data = Path("/var/lib/glasshouse") / sha256(str(HOME.path).encode()).hexdigest()[:12]
        data.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(data)
    # whole or not at all: one that was interrupted is made anew
    new = data.with_name(f"{data.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    if user:
        account = pwd.getpwnam(user)
        os.chown(new, account.pw_uid, account.pw_gid)
    as_user = ["runuser", "-u", user, "--"] if user else []
    _run([*as_user, native.find_postgres("initdb"), "-D", str(new), "-U", "todo", "--auth=trust", "-E", "UTF8"])
    single = [*as_user, native.find_postgres("postgres"), "--single", "-D", str(new), "postgres"]
    _run(single, "CREATE DATABASE todo;\n")
    new.rename(data)


def _reaches(user: str, directory: Path) -> bool:
    return subprocess.run(["runuser", "-u", user, "--", "test", "-x", str(directory)], check=False).returncode == 0


def _run(command: list[str], given: str = "") -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode:
        raise StackError(f"{Path(command[-1]).name}: {(done.stderr or done.stdout).strip()}")


def _await_ready(supervisor: Supervisor, programs: list[Program]) -> None:
    """Waits for every part. Raises `StackError`, naming those that are not ready and where their logs are."""
    deadline = time.monotonic() + READY_SECONDS
    waiting = {program.name: program for program in programs}
    while waiting:
        for name, program in list(waiting.items()):
            if _is_ready(program):
                del waiting[name]
        if waiting and time.monotonic() > deadline:
            logs = ", ".join(f"{HOME.logs}/{name}.log" for name in waiting)
            supervisor.shut_down()
            raise StackError(f"not healthy within {READY_SECONDS} s, so all is stopped again; see {logs}")
        time.sleep(0.2)


def _is_ready(program: Program) -> bool:
    if program.name == "redis-cluster":
        check = ["sh", str(ROOT / "redis/cluster.sh"), "check"]
        environment = {**os.environ, **program.environment}
        return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0
    if program.ready.startswith("http"):
        try:
            return httpx.get(program.ready, timeout=2, trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False
    host, _, port = program.ready.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
