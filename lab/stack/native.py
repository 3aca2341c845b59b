"""The native stack's configuration: derived from the files for Docker by the substitutions in this module.

The originals are not templates, so that Docker Compose, and anyone who copies them, can use them unchanged.
"""

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from lab.settings import IS_INSTALLED, ROOT, START_NATIVE, LabSettings
from lab.stack.loopback import has_ipv6_loopback

# how to install a missing program, for messages
INSTALL = f"run {Path(__file__).with_name('install.sh')}" + ("" if IS_INSTALLED else f" ({START_NATIVE} does)")
# a stack from the wheel runs in any folder, so Python must not import modules from there
SAFE_PATH = {"PYTHONSAFEPATH": "1"} if IS_INSTALLED else {}
# the programs of the distribution's packages, each by its names there and elsewhere; PostgreSQL's are not on PATH
NEEDED = (
    ("redis-server",),
    ("redis-cli",),
    ("nginx",),
    ("prometheus",),
    ("prometheus-alertmanager", "alertmanager"),
    ("prometheus-redis-exporter", "redis_exporter"),
    ("prometheus-nginx-exporter", "nginx-prometheus-exporter"),
    ("prometheus-postgres-exporter", "postgres_exporter"),
    ("prometheus-node-exporter", "node_exporter"),
    ("prometheus-process-exporter", "process-exporter"),
)
REPLICAS = 3
REDIS_NODES = 6
# where Debian and Ubuntu install PostgreSQL's programs, by major version
POSTGRES = Path("/usr/lib/postgresql")
# settings of the service that can be set in the environment or in .env
SERVICE_SETTINGS = (
    "RATE_LIMIT",
    "CACHE_TTL_SECONDS",
    "TELEMETRY",
    "TRACE_SAMPLE_RATIO",
    "TRACE_SLOW_SECONDS",
    "LOG_LEVEL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_SDK_DISABLED",
)
# characters that are quotes, comments, variables, patterns or separators in the configuration of some part
NOT_IN_PATHS = re.compile(r"""["\\$%#;*?\[\]{}]|: |[\x00-\x1f\x7f]""")
TEMPO_MEMORY = "440MiB"
TRACESTORE_SETTINGS = ("TRACESTORE_MAX_MEGABYTES", "TRACESTORE_MAX_HOURS")
STACK_RATE_LIMIT = "100000/minute"
# data is deleted when the first of these limits is reached; the service levels need three days, and tuning uses all
PROMETHEUS_RETENTION, PROMETHEUS_RETENTION_SIZE = "15d", "2GB"


class StackError(Exception):
    """The stack cannot do what was asked, such as start or stop a part; the message has the reason and what to do."""


@dataclass(frozen=True)
class Program:
    """One part of the stack under supervisor.
    It is healthy when the URL `ready` responds with 200, or when the `host:port` `ready` accepts connections.
    """

    name: str
    command: str
    ready: str
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    stop_signal: str = "TERM"
    stop_seconds: int = 12


@dataclass(frozen=True)
class Home:
    """The directory of the native stack's files: `.stack/` in the repository."""

    path: Path

    @property
    def data(self) -> Path:
        """Data that survives a restart."""
        return self.path / "data"

    @property
    def config(self) -> Path:
        """Configuration, written at every start."""
        return self.path / "config"

    @property
    def logs(self) -> Path:
        """Logs, one file per part."""
        return self.path / "log"


def check_paths(home: Home) -> None:
    """Raises `StackError` if a path contains a character that has a meaning in a part's configuration."""
    for path in (home.path, ROOT):
        if found := NOT_IN_PATHS.search(str(path)):
            raise StackError(
                f"the path {str(path)!r} contains {found[0]!r}, which has a meaning in the configuration of nginx,"
                " Redis, Prometheus or supervisor: use another path"
            )


def find(program: str) -> str:
    """The path of a program of `NEEDED`, under any of its names, or of another one. Raises `StackError`."""
    names = next((names for names in NEEDED if program in names), (program,))
    for name in names:
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if found:
            return found
    raise StackError(f"{names[0]} is not installed: {INSTALL}")


def find_postgres(program: str, data: Path) -> str:
    """The path of a program of PostgreSQL: of the major version that created `data`, or of the newest for new data.

    Raises `StackError` if that version is not installed: a server cannot read the data of another major version.
    """
    found = {path.parts[-3]: str(path) for path in POSTGRES.glob(f"*/bin/{program}")}
    installed = {major: path for major, path in found.items() if re.fullmatch(r"\d+(\.\d+)?", major)}
    version = data / "PG_VERSION"
    try:
        major = version.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return installed[max(installed, key=float)] if installed else find(program)
    except OSError as error:
        raise StackError(f"{version}: {error.strerror}: run as the user who created it") from error
    if installed and major not in installed:
        raise StackError(
            f"the data in {data} is from PostgreSQL {major}, but installed is {' and '.join(sorted(installed))}:"
            f" install postgresql-{major}, or migrate the data with pg_dump, or delete it"
        )
    return installed[major] if installed else find(program)


def grafana_home() -> str | None:
    """Grafana's home directory, empty for its default; None if Grafana is not installed."""
    if shutil.which("grafana") or shutil.which("grafana-server"):
        return os.environ.get("GF_PATHS_HOME", "/usr/share/grafana" if Path("/usr/share/grafana").is_dir() else "")
    return None


def gateway_config(settings: LabSettings, home: Home) -> str:
    """gateway/nginx.conf for the native stack."""
    servers = "\n        ".join(
        f"server 127.0.0.1:{settings.todo_port + n} max_fails=1 fail_timeout=1s;" for n in range(REPLICAS)
    )
    backups = "\n        ".join(
        f"server 127.0.0.1:{settings.todo_port + n} max_fails=0 backup;" for n in range(REPLICAS)
    )
    return _substitute(
        ROOT / "gateway/nginx.conf",
        {
            "server todo:8000 resolve max_fails=1 fail_timeout=1s;": servers,
            "server todo:8000 resolve max_fails=0 backup;": backups,
            "resolver 127.0.0.11 valid=1s ipv6=off;": "",
            "listen 5000;": f"listen 127.0.0.1:{settings.gateway_port};"
            + (f" listen [::1]:{settings.gateway_port};" if has_ipv6_loopback() else ""),
            "listen 8081;": f"listen 127.0.0.1:{settings.gateway_status_port};",
            "/var/log/gateway/requests.log": f'"{home.logs}/gateway-requests.log"',
            # relative to nginx' prefix, which its command line sets, because directives allow no quotes within a path
            "/tmp/": "",  # noqa: S108 (a path in the container)
            "worker_processes auto;": "worker_processes auto;" + ("\nuser root;" if os.getuid() == 0 else ""),
        },
    )


def prometheus_config(settings: LabSettings, absent: set[str]) -> str:
    """observability/prometheus/prometheus.yml for the native stack, without the jobs of absent parts.

    If Tempo is absent, the trace store has its address; then the job is named `tracestore`.
    """
    todo = ", ".join(f'"127.0.0.1:{settings.metrics_port + n}"' for n in range(REPLICAS))
    nodes = {f"redis-{n + 1}:6379": f"127.0.0.1:{settings.redis_port + n}" for n in range(REDIS_NODES)}
    text = _substitute(
        ROOT / "observability/prometheus/prometheus.yml",
        {
            "dns_sd_configs: [{names: [todo], type: A, port: 9464, refresh_interval: 5s}]": (
                f"static_configs: [{{targets: [{todo}]}}]"
            ),
            "/etc/prometheus/rules/": f"{ROOT}/observability/prometheus/rules/",
            "/etc/alerts/": f"{ROOT}/alerts/rules/",
            "gateway-exporter:9113": f"127.0.0.1:{settings.gateway_exporter_port}",
            "postgres-exporter:9187": f"127.0.0.1:{settings.postgres_exporter_port}",
            "redis-exporter:9121": f"127.0.0.1:{settings.redis_exporter_port}",
            "host-exporter:9100": f"127.0.0.1:{settings.host_exporter_port}",
            "process-exporter:9256": f"127.0.0.1:{settings.process_exporter_port}",
            "alertmanager:9093": f"127.0.0.1:{settings.alertmanager_port}",
            "localhost:9090": f"127.0.0.1:{settings.prometheus_port}",
            "desk:8060": f"127.0.0.1:{settings.desk_port}",
            "grafana:3000": f"127.0.0.1:{settings.grafana_port}",
            "tempo:3200": f"127.0.0.1:{settings.tempo_port}",
            "loki:3100": f"127.0.0.1:{settings.loki_port}",
            "${DESK_URL}": settings.url("desk"),
            "${DASHBOARDS_URL}": settings.url("viewer" if grafana_home() is None else "grafana"),
            **nodes,
        },
    )
    config: dict[str, Any] = yaml.safe_load(text)
    for job in config["scrape_configs"]:
        if job["job_name"] == "tempo" and "tempo" in absent:
            job["job_name"] = "tracestore"
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] not in absent]
    return yaml.safe_dump(config, sort_keys=False)


def cors_origins(settings: LabSettings) -> str:
    """The origins that may query Prometheus from a browser, Grafana and the viewer, as a regular expression."""
    return f"http://(127[.]0[.]0[.]1|localhost):({settings.grafana_port}|{settings.viewer_port})"


def alertmanager_config(settings: LabSettings) -> str:
    """observability/alertmanager/alertmanager.yml for the native stack."""
    return _substitute(
        ROOT / "observability/alertmanager/alertmanager.yml", {"desk:8060": f"127.0.0.1:{settings.desk_port}"}
    )


def tempo_config(settings: LabSettings, home: Home) -> str:
    """observability/tempo/tempo.yaml for the native stack."""
    return _substitute(
        ROOT / "observability/tempo/tempo.yaml",
        {
            "http_listen_port: 3200": f"http_listen_address: 127.0.0.1\n  http_listen_port: {settings.tempo_port}",
            "grpc_listen_port: 9095": f"grpc_listen_port: {settings.tempo_grpc_port}",
            "0.0.0.0:4318": f"127.0.0.1:{settings.otlp_port}",
            "http://prometheus:9090": settings.url("prometheus"),
            "/var/tempo": str(home.data / "tempo"),
        },
    )


def redis_config(settings: LabSettings, home: Home, node: int) -> str:
    """redis/redis.conf for one node of the native stack."""
    return _substitute(
        ROOT / "redis/redis.conf",
        {
            "port 6379": f"port {settings.redis_port + node}\nbind 127.0.0.1",
            "dir /data": f'dir "{home.data}/redis-{node + 1}"',
        },
    )


def processes_config(home: Home) -> str:
    """observability/exporters/processes.yml for the native stack: matches only the processes of this stack."""

    def pattern(text: object) -> str:
        # in Go's regular expression syntax, within YAML's single quotes
        return re.escape(str(text)).replace("\\ ", " ").replace("\\-", "-").replace("'", "''")

    return _substitute(
        ROOT / "observability/exporters/processes.yml",
        {
            "redis-server /etc/redis.conf .*--cluster-announce-hostname (?P<node>redis-[0-9]+)": (
                f"redis-server {pattern(home.config)}/(?P<node>redis-[0-9]+)[.]conf"
            ),
            "^(/.*/)?postgres( -c|$)": f"postgres -D {pattern(postgres_data(home))} ",
            "nginx: master process nginx ": (
                f"nginx: master process .*nginx -p .* -c {pattern(home.config)}/nginx[.]conf "
            ),
        },
    )


def write_grafana_provisioning(settings: LabSettings, home: Home) -> Path:
    """Writes Grafana's provisioning for the native stack, and returns its directory."""
    target = home.config / "grafana"
    for source in (ROOT / "observability/grafana/provisioning").rglob("*.yml"):
        path = target / source.relative_to(ROOT / "observability/grafana/provisioning")
        path.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text(encoding="utf-8")
        for docker, native in {
            "http://prometheus:9090": settings.url("prometheus"),
            "http://tempo:3200": settings.url("tempo"),
            # the trace store also has logs; with Tempo instead, there are no logs
            "http://loki:3100": settings.url("tempo"),
            "/etc/grafana/dashboards": str(ROOT / "observability/grafana/dashboards"),
        }.items():
            text = text.replace(docker, native)
        path.write_text(text, encoding="utf-8")
    return target


def programs(settings: LabSettings, home: Home, chosen: Mapping[str, str]) -> list[Program]:
    """All parts of the stack, in the order of messages. Raises `StackError`."""
    tempo, grafana = shutil.which("tempo"), grafana_home()
    retention = chosen.get("PROMETHEUS_RETENTION", PROMETHEUS_RETENTION)
    retention_size = chosen.get("PROMETHEUS_RETENTION_SIZE", PROMETHEUS_RETENTION_SIZE)
    redis_url = ",".join(f"redis://127.0.0.1:{settings.redis_port + n}" for n in range(REDIS_NODES))
    service = {
        "HOST": "127.0.0.1",
        "DATABASE_URL": f"postgresql+asyncpg://todo@127.0.0.1:{settings.postgres_port}/todo",
        "REDIS_URL": redis_url,
        "TRUSTED_PROXIES": "127.0.0.1",
        "RATE_LIMIT": STACK_RATE_LIMIT,
        **({} if "OTEL_EXPORTER_OTLP_ENDPOINT" in chosen else _collector(settings, has_tempo=tempo is not None)),
        **{name: value for name, value in chosen.items() if name in SERVICE_SETTINGS},
    }
    python, config, data = quote(sys.executable), quote(str(home.config)), quote(str(home.data))
    found = [
        Program(
            f"todo-{n + 1}",
            f"{python} -m service",
            f"http://127.0.0.1:{settings.todo_port + n}/health/ready",
            {
                **service,
                "PORT": str(settings.todo_port + n),
                "METRICS_PORT": str(settings.metrics_port + n),
                "REPLICA": f"todo-{n + 1}",
            },
        )
        for n in range(REPLICAS)
    ]
    found.append(
        Program(
            "gateway",
            f"{find('nginx')} -p {data}/gateway/ -c {config}/nginx.conf -g 'daemon off;'",
            # a port rather than a URL, because requests would be counted
            f"127.0.0.1:{settings.gateway_port}",
            stop_signal="QUIT",
        )
    )
    found += [
        Program(
            f"redis-{n + 1}",
            f"{find('redis-server')} {config}/redis-{n + 1}.conf",
            f"127.0.0.1:{settings.redis_port + n}",
        )
        for n in range(REDIS_NODES)
    ]
    nodes = " ".join(f"127.0.0.1:{settings.redis_port + n}" for n in range(REDIS_NODES))
    found.append(Program("redis-cluster", f"sh {quote(str(ROOT))}/redis/cluster.sh", "", {"NODES": nodes}))
    database = postgres_data(home)
    found.append(
        Program(
            "postgres",
            f"{find_postgres('postgres', database)} -D {quote(str(database))} -c listen_addresses=127.0.0.1"
            f" -c port={settings.postgres_port} -c unix_socket_directories=",
            f"127.0.0.1:{settings.postgres_port}",
            user=postgres_user(),
            stop_signal="INT",
        )
    )
    found.append(
        Program(
            "prometheus",
            f"{find('prometheus')} --config.file={config}/prometheus.yml"
            f" --storage.tsdb.path={data}/prometheus --storage.tsdb.retention.time={retention}"
            f" --storage.tsdb.retention.size={retention_size} --web.external-url={settings.url('prometheus')}"
            f" --web.cors.origin={cors_origins(settings)}"
            f" --web.listen-address=127.0.0.1:{settings.prometheus_port}"
            " --enable-feature=exemplar-storage --web.enable-remote-write-receiver --web.enable-lifecycle",
            f"{settings.url('prometheus')}/-/ready",
        )
    )
    found.append(
        Program(
            "alertmanager",
            f"{find('prometheus-alertmanager')} --config.file={config}/alertmanager.yml"
            f" --storage.path={data}/alertmanager --web.listen-address=127.0.0.1:{settings.alertmanager_port}"
            f" --cluster.listen-address= --web.external-url={settings.url('alertmanager')}",
            f"{settings.url('alertmanager')}/-/ready",
        )
    )
    found += _exporters(settings, home)
    found.append(
        Program(
            "desk",
            f"{python} -m lab desk",
            f"{settings.url('desk')}/metrics",
            {
                "DESK_DATABASE": str(home.data / "inbox.sqlite"),
                "GATEWAY_REQUEST_LOG": str(home.logs / "gateway-requests.log"),
                "DASHBOARDS_URL": settings.url("viewer" if grafana is None else "grafana"),
            },
        )
    )
    if tempo:
        found.append(
            Program(
                "tempo",
                f"{tempo} -target=all -config.file={config}/tempo.yaml",
                f"{settings.url('tempo')}/ready",
                {"GOMEMLIMIT": TEMPO_MEMORY},
            )
        )
    else:
        bounds = {name: value for name, value in chosen.items() if name in TRACESTORE_SETTINGS}
        found.append(
            Program(
                "tracestore",
                f"{python} -m lab tracestore",
                f"{settings.url('tempo')}/ready",
                {"TRACESTORE_FILE": str(home.data / "tracestore" / "traces.db"), **bounds},
            )
        )
    if grafana is None:
        found.append(Program("viewer", f"{python} -m lab view", f"{settings.url('viewer')}/"))
    else:
        found.append(_grafana(settings, home, grafana))
    return found


def _collector(settings: LabSettings, *, has_tempo: bool) -> dict[str, str]:
    """Where the service sends traces and log records. Tempo accepts only traces, the trace store accepts both."""
    address = f"http://127.0.0.1:{settings.otlp_port}"
    if has_tempo:
        return {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{address}/v1/traces"}
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": address}


def _exporters(settings: LabSettings, home: Home) -> list[Program]:
    def exporter(name: str, command: str, port: int, **environment: str) -> Program:
        return Program(name, command, f"http://127.0.0.1:{port}/metrics", environment)

    listen = "--web.listen-address=127.0.0.1:"
    redis, gateway, postgres = (
        settings.redis_exporter_port,
        settings.gateway_exporter_port,
        settings.postgres_exporter_port,
    )
    status = f"http://127.0.0.1:{settings.gateway_status_port}/stub_status"
    return [
        exporter(
            "redis-exporter",
            f"{find('prometheus-redis-exporter')} -redis.addr= -web.listen-address=127.0.0.1:{redis}",
            redis,
        ),
        exporter(
            "gateway-exporter",
            f"{find('prometheus-nginx-exporter')} --nginx.scrape-uri={status} --nginx.timeout=2s {listen}{gateway}",
            gateway,
        ),
        exporter(
            "postgres-exporter",
            f"{find('prometheus-postgres-exporter')} {listen}{postgres}",
            postgres,
            DATA_SOURCE_NAME=f"postgresql://todo@127.0.0.1:{settings.postgres_port}/todo?sslmode=disable",
        ),
        exporter(
            "host-exporter",
            f"{find('prometheus-node-exporter')} --collector.disable-defaults --collector.cpu"
            f" --collector.meminfo --collector.pressure {listen}{settings.host_exporter_port}",
            settings.host_exporter_port,
        ),
        exporter(
            "process-exporter",
            f"{find('prometheus-process-exporter')}"
            f" -config.path={quote(str(home.config))}/processes.yml"
            " -recheck -threads=false -gather-smaps=false"
            f" -web.listen-address=127.0.0.1:{settings.process_exporter_port}",
            settings.process_exporter_port,
        ),
    ]


def _grafana(settings: LabSettings, home: Home, grafana: str) -> Program:
    server = shutil.which("grafana")
    environment = {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(settings.grafana_port),
        "GF_PATHS_DATA": str(home.data / "grafana"),
        "GF_PATHS_LOGS": str(home.logs),
        "GF_PATHS_PROVISIONING": str(home.config / "grafana"),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_AUTH_DISABLE_LOGIN_FORM": "true",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(ROOT / "observability/grafana/dashboards/overview.json"),
    }
    command = f"{server} server" if server else str(shutil.which("grafana-server"))
    if grafana:
        command += f" --homepath {grafana}"
    return Program("grafana", command, f"{settings.url('grafana')}/api/health", environment)


def postgres_user() -> str:
    """The user that runs PostgreSQL, which refuses to run as root; empty for the current user."""
    return "postgres" if os.getuid() == 0 else ""


def postgres_data(home: Home) -> Path:
    """PostgreSQL's data directory. It is under /var/lib if PostgreSQL's user cannot reach the repository in /root."""
    return (home.data / "postgres").resolve()


def _substitute(source: Path, native: Mapping[str, str]) -> str:
    text = source.read_text(encoding="utf-8")
    missing = [docker for docker in native if docker not in text]
    if missing:
        raise StackError(f"{source.relative_to(ROOT)} no longer contains {missing[0]!r}: adapt lab/stack/native.py")
    # in a single pass, so that replacements are not replaced again
    return re.sub("|".join(map(re.escape, native)), lambda found: native[found[0]], text)
