"""How `glasshouse up` handles unusual machines before it starts anything."""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from configparser import RawConfigParser
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import yaml

from lab.env_file import EnvFileError, read_env_file
from lab.settings import LabSettings
from lab.stack import native, started, up
from lab.stack.faults import compose_containers
from lab.stack.leftovers import leftovers, stop_leftovers
from lab.stack.loopback import has_ipv6_loopback
from lab.stack.native import Home, Program, StackError, find_postgres
from lab.stack.ports import check_ports
from lab.stack.supervisor import configuration
from lab.stack.up import check_service_settings
from testbed.conditions import wait_for

EXPORTED = b"""\xef\xbb\xbfRATE_LIMIT=10/minute
export LOG_LEVEL=debug   # while I look
POSTGRES_PASSWORD='p@s/s%'
TODO_PORT="9000"

# nothing here
GATEWAY_PORT = 5055
"""


@pytest.mark.case(".env")
def test_an_env_file_is_parsed_as_compose_does(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(EXPORTED)
    assert read_env_file(file) == {
        "RATE_LIMIT": "10/minute",
        "LOG_LEVEL": "debug",
        "POSTGRES_PASSWORD": "p@s/s%",
        "TODO_PORT": "9000",
        "GATEWAY_PORT": "5055",
    }
    assert read_env_file(tmp_path / "absent") == {}


@pytest.mark.case(".env")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"A=1\n# f\xfcr die Last\n", "line 2: not UTF-8"),
        (b"A=1\n\nB='2\n", 'line 3: "B=\'2" is not NAME=VALUE'),
        (b"A B=1\n", "line 1"),
    ],
)
def test_an_invalid_line_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes(content)
    with pytest.raises(EnvFileError, match=said):
        read_env_file(file)


@pytest.mark.case("settings that collide")
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (LabSettings(gateway_port=8001), "GATEWAY_PORT and TODO_PORT both need port 8001"),
        (LabSettings(postgres_port=17003, redis_port=7000), "REDIS_PORT and POSTGRES_PORT both need port 17003"),
        (LabSettings(redis_port=56000), "REDIS_PORT=56000: would need port 66000, but 65535 is the highest"),
        (LabSettings(todo_port=65534), "TODO_PORT=65534: would need port 65536"),
    ],
)
def test_colliding_ports_are_rejected_and_both_settings_named(settings: LabSettings, said: str) -> None:
    with pytest.raises(StackError) as refused:
        check_ports(settings, {"viewer"})
    assert said in str(refused.value) or said in _swapped(str(refused.value))


@pytest.mark.case("settings that changed")
def test_a_second_start_prints_what_runs_and_how_to_apply_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gateway:
        port = gateway.getsockname()[1]
        monkeypatch.setattr(up, "HOME", Home(tmp_path))
        monkeypatch.setattr(up.Supervisor, "is_running", lambda _: True)
        monkeypatch.setattr(up.Supervisor, "programs", lambda _: [{"name": "todo-1", "statename": "STOPPED", "pid": 0}])
        monkeypatch.setattr(up, "_chosen", lambda: {})
        started.record(tmp_path / "settings.json", started.current(LabSettings(gateway_port=port), {}))
        up.start(LabSettings(gateway_port=5055))
    said = capsys.readouterr().out
    assert f"GATEWAY_PORT ({port} → 5055)" in said
    assert "apply the change" in said
    assert f"http://127.0.0.1:{port}/tasks" in said
    assert "http://127.0.0.1:5055" not in said


def test_an_invalid_service_setting_is_reported_before_anything_starts() -> None:
    check_service_settings({"RATE_LIMIT": "5/second"})
    with pytest.raises(StackError, match=r"^RATE_LIMIT='x': must be limits"):
        check_service_settings({"RATE_LIMIT": "x"})


def _swapped(message: str) -> str:
    """The message with its two settings swapped, because their order has no meaning."""
    names, _, rest = message.partition(" both")
    return " and ".join(reversed(names.split(" and "))) + " both" + rest


@pytest.mark.case("settings that changed")
def test_settings_that_changed_since_the_start_are_named(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    assert started.recorded(file) == {}
    started.record(file, started.current(LabSettings(), {"RATE_LIMIT": "5/second"}))
    before = started.recorded(file)
    now = started.current(LabSettings(gateway_port=5055), {})
    assert started.changes(before, now) == ["GATEWAY_PORT (5000 → 5055)", "RATE_LIMIT (5/second → unset)"]
    assert started.ports(before, LabSettings(gateway_port=5055)).gateway_port == 5000
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.case("old data")
def test_data_of_another_major_version_is_reported_with_both_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed, data = tmp_path / "postgresql", tmp_path / "data"
    for major in ("15", "17"):
        (installed / major / "bin").mkdir(parents=True)
        (installed / major / "bin/postgres").touch()
    data.mkdir()
    monkeypatch.setattr(native, "POSTGRES", installed)
    assert find_postgres("postgres", data).endswith("17/bin/postgres")
    (data / "PG_VERSION").write_text("15\n")
    assert find_postgres("postgres", data).endswith("15/bin/postgres")
    (data / "PG_VERSION").write_text("13\n")
    with pytest.raises(StackError, match="is from PostgreSQL 13, but installed is 15 and 17: install postgresql-13"):
        find_postgres("postgres", data)


@pytest.mark.case("path of the clone")
def test_a_path_with_a_space_and_an_umlaut_remains_one_argument(tmp_path: Path) -> None:
    home = Home(tmp_path / "a b/h\u00e4user %s")
    text = configuration([Program("todo-1", f"{shlex.quote(str(home.config))}/run -x", "")], home, tmp_path)
    parser = RawConfigParser()
    parser.read_string(text)
    command = parser["program:todo-1"]["command"]
    assert shlex.split(command % {}) == [f"{home.config}/run", "-x"]
    assert parser["supervisord"]["logfile"] % {} == f"{home.logs}/supervisord.log"


@pytest.mark.case("path of the clone")
def test_no_command_of_the_native_stack_splits_a_path_at_a_space(tmp_path: Path) -> None:
    home = Home(tmp_path / "a b")
    words = [word for each in native.programs(LabSettings(), home, {}) for word in shlex.split(each.command)]
    named = [word for word in words if str(tmp_path / "a") in word]
    assert len(named) > 8
    assert [word for word in named if str(home.path) not in word] == []


@pytest.mark.case("line ends")
def test_a_checkout_keeps_its_line_ends(root: Path) -> None:
    done = subprocess.run(
        ["git", "check-attr", "eol", "--", "redis/cluster.sh", "gateway/nginx.conf", "lab/stack/install.sh"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.rpartition(" ")[2] for line in done.stdout.splitlines()] == ["lf"] * 3


@pytest.mark.case("line ends")
def test_a_clone_made_with_autocrlf_has_no_carriage_return(root: Path, tmp_path: Path) -> None:
    git = ["git", "-c", "core.autocrlf=true", "-c", "core.eol=crlf", "-c", "safe.directory=*"]
    clone = tmp_path / "clone"
    subprocess.run([*git, "clone", "--quiet", "--shared", "--no-checkout", str(root), str(clone)], check=True)
    read = ("redis", "gateway", "lab/stack", "deploy", "observability", "alerts/rules", "compose.yaml", "Makefile")
    subprocess.run([*git, "checkout", "--quiet", "HEAD", "--", ".gitattributes", *read], cwd=clone, check=True)
    files = [file for file in clone.rglob("*") if file.is_file() and ".git" not in file.relative_to(clone).parts]
    assert len(files) > 60
    assert [file for file in files if file.suffix != ".png" and b"\r" in file.read_bytes()] == []


@pytest.mark.case("links")
def test_links_to_prometheus_and_alertmanager_work_in_both_stacks(root: Path, tmp_path: Path) -> None:
    services = yaml.safe_load((root / "compose.yaml").read_text())["services"]
    natively = {each.name: each.command for each in native.programs(LabSettings(), Home(tmp_path), {})}
    for name, port in {"prometheus": 9090, "alertmanager": 9093}.items():
        docker = f"--web.external-url=http://127.0.0.1:${{{name.upper()}_PORT:-{port}}}"
        assert docker in services[name]["command"]
        assert f"--web.external-url=http://127.0.0.1:{port}" in natively[name].split()


@pytest.mark.case("passwords")
def test_no_url_in_compose_contains_a_password(root: Path) -> None:
    services = yaml.safe_load((root / "compose.yaml").read_text())["services"]
    values = {str(value) for each in services.values() for value in (each.get("environment") or {}).values()}
    assert {value for value in values if "POSTGRES_PASSWORD" in value} == {"${POSTGRES_PASSWORD:-todo}"}


@pytest.mark.case("compose output")
def test_a_compose_before_2_21_prints_one_array() -> None:
    old = (
        '[{"Name":"g-todo-2","Service":"todo","State":"running"},'
        '{"Name":"g-gateway-1","Service":"gateway","State":"exited"}]'
    )
    new = "\n".join(
        [
            '{"Name":"g-todo-2","Service":"todo","State":"running","Status":"Up 2 minutes"}',
            '{"Name":"g-gateway-1","Service":"gateway","State":"exited","Status":"Exited (0)"}',
        ]
    )
    assert compose_containers(old) == {"todo-2": ("g-todo-2", "running"), "gateway": ("g-gateway-1", "exited")}
    assert compose_containers(new) == {"todo-2": ("g-todo-2", "Up 2 minutes"), "gateway": ("g-gateway-1", "Exited (0)")}
    assert compose_containers("") == {}


@pytest.mark.parametrize("output", ["{", '["x"]', "no JSON", '{"Name": 3}', "null"])
def test_invalid_output_of_compose_is_reported(output: str) -> None:
    with pytest.raises(StackError, match="docker compose ps"):
        compose_containers(output)


@contextmanager
def sleeping() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that only sleeps, and is killed after the block."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait(10)


@pytest.mark.case("supervisor gone")
def test_leftovers_of_a_killed_supervisor_are_found_by_its_log_and_stopped(tmp_path: Path) -> None:
    with sleeping() as ours, sleeping() as reused:
        log = tmp_path / "supervisord.log"
        began = datetime.fromtimestamp(psutil.Process(ours.pid).create_time(), UTC)
        log.write_text(
            f"{began:%Y-%m-%d %H:%M:%S},123 INFO spawned: 'todo-1' with pid {ours.pid}\n"
            f"2020-01-01 00:00:00,000 INFO spawned: 'redis-1' with pid {reused.pid}\n"
        )
        found = leftovers(log)
        # a process id that another program has reused is not ours
        assert {name: [process.pid for process in group] for name, group in found.items()} == {"todo-1": [ours.pid]}
        stop_leftovers(found)
        wait_for(lambda: ours.poll() is not None, 10, "the end")
        assert reused.poll() is None
        assert leftovers(log) == {}


@pytest.fixture
def orphan() -> Iterator[tuple[int, int]]:
    """Process ids of a first process that was killed, and of its worker, which still runs in the same process group."""
    script = (
        "import subprocess, sys; print(subprocess.Popen(['sleep', '60'], stdout=-3).pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, process_group=0) as first:
        assert first.stdout
        worker = psutil.Process(int(first.stdout.readline()))
        first.kill()
    try:
        yield first.pid, worker.pid
    finally:
        with suppress(psutil.NoSuchProcess):
            worker.kill()


@pytest.mark.case("supervisor gone")
def test_workers_that_outlived_their_first_process_are_found_despite_later_starts(
    tmp_path: Path, orphan: tuple[int, int]
) -> None:
    first, worker = orphan
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S},123 INFO"
    with sleeping() as ended:
        pass
    log = tmp_path / "supervisord.log"
    started = f"{now} supervisord started with pid {os.getsid(0)}\n"
    # the second one has ended because the worker of the first has its port
    spawned = "".join(f"{now} spawned: 'gateway' with pid {pid}\n" for pid in (first, ended.pid))
    # a group with the same number in the session of another supervisor is not ours
    log.write_text(f"{now} supervisord started with pid 1\n{spawned}{started}")
    assert leftovers(log) == {}
    log.write_text(started + spawned)
    found = leftovers(log)
    assert [process.pid for process in found["gateway"]] == [worker]
    stop_leftovers(found)
    assert leftovers(log) == {}


def test_the_gateway_listens_on_both_loopbacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for is_there, listens in ((True, 1), (False, 0)):
        monkeypatch.setattr(native, "has_ipv6_loopback", lambda found=is_there: found)
        text = native.gateway_config(LabSettings(gateway_port=5055), Home(tmp_path))
        assert text.count("listen 127.0.0.1:5055;") == 1
        assert text.count("listen [::1]:5055;") == listens


def test_a_gateway_port_in_use_on_either_loopback_is_reported() -> None:
    if not has_ipv6_loopback():
        pytest.skip("this machine has no ::1")
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} \\(GATEWAY_PORT\\)"):
            check_ports(LabSettings(gateway_port=port), {"viewer"})
