"""Odd files, paths, names, time zones and tools around the native stack: parsed as meant, or rejected with one line."""

import errno
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from supervisor.options import ServerOptions

from lab.alerts import reload
from lab.env_file import EnvFileError, read_env_file
from lab.settings import LabSettings, SettingError, load_settings
from lab.stack import database, faults, native, started, supervisor, up
from lab.stack.doctor import native_findings
from lab.stack.kubernetes import Kubectl, KubernetesStack
from lab.stack.leftovers import leftovers, stop_leftovers
from lab.stack.native import Home, Program, StackError
from lab.stack.supervisor import NOTHING, Supervisor, configuration, socket_of
from testbed.conditions import wait_for

SEED = 19


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    for folder in (made.config, made.logs, made.data):
        folder.mkdir(parents=True)
    return made


# --- files


def test_an_env_file_that_is_a_directory_is_one_line_of_error(tmp_path: Path) -> None:
    # Docker creates a directory if a file to mount does not exist
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingError, match=r"\.env: Is a directory"):
        load_settings(tmp_path)


def test_a_null_byte_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=1\nB=x\0y\n")
    with pytest.raises(EnvFileError, match="line 2: contains a null byte"):
        read_env_file(tmp_path / ".env")


@pytest.mark.parametrize("text", ["9" * 5000, "\u0665\u0660\u0660\u0660", "5_000", "+5000", "5000.0", "0", "65536"])
def test_an_invalid_port_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_text(f"GATEWAY_PORT={text}\n", encoding="utf-8")
    with pytest.raises(SettingError, match="GATEWAY_PORT="):
        load_settings(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b'{"GATEWAY_PORT":7}', b"\xff", b"[" * 100_000])
def test_an_unreadable_settings_record_is_ignored(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "settings.json").write_bytes(content)
    assert started.recorded(tmp_path / "settings.json") == {}
    assert started.ports({"GATEWAY_PORT": "x", "TODO_PORT": "9000"}, LabSettings()) == LabSettings(todo_port=9000)


def test_settings_with_passwords_are_neither_printed_nor_readable_by_others(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, secret = "OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer s3cret"
    assert started.changes({}, {name: secret}) == [name]
    for file in (home.path / "settings.json", home.config / "supervisord.conf"):
        file.touch(mode=0o644)
    monkeypatch.setattr(up, "HOME", home)
    monkeypatch.setattr(up, "prepare_postgres", lambda home: None)
    monkeypatch.setattr(up, "_chosen", lambda: {name: secret})
    up._prepare(LabSettings(), native.programs(LabSettings(), home, {name: secret}))
    started.record(home.path / "settings.json", {name: secret})
    held = [file for file in home.path.rglob("*") if file.is_file() and "s3cret" in file.read_text(errors="replace")]
    assert {file.name for file in held} == {"settings.json", "supervisord.conf"}
    assert [file.stat().st_mode & 0o077 for file in held] == [0, 0]


# --- supervisor's configuration, as supervisor reads it


def parsed(programs: list[Program], home: Home) -> dict[str, tuple[str, dict[str, str], str]]:
    """Command, environment and log of each program."""
    file = home.config / "supervisord.conf"
    file.write_text(configuration(programs, home, home.path))
    options = ServerOptions()
    options.environ_expansions[f"ENV_{NOTHING}"] = ""
    options.realize(["-c", str(file), "-n"])
    made = [each for group in options.process_group_configs for each in group.process_configs]
    return {each.name: (each.command, each.environment, each.stdout_logfile) for each in made}


VALUES = (
    "a;b",
    "a ;b",
    "a #b",
    "a\t#b",
    "#",
    ";",
    "'a'b",
    'a"b',
    "a'b",
    "a\\",
    "a,b=c",
    "%(x)s",
    "100%",
    "é",
    " a ",
    "$X",
    "=",
)


@pytest.mark.parametrize("value", [*VALUES, 'authorization=Basic dTpw, x="y z"; q'])
def test_a_setting_reaches_its_program_as_it_was_written(home: Home, value: str) -> None:
    if value.strip("'\"") != value:
        with pytest.raises(StackError, match=r"^A: supervisor cannot pass"):
            parsed([Program("x", "/bin/true", "", {"A": value})], home)
        return
    _, environment, _ = parsed([Program("x", "/bin/true", "", {"A": value, "B": "2"})], home)["x"]
    assert (environment["A"], environment["B"]) == (value, "2")


def test_fuzzed_setting_values_reach_their_program_or_are_rejected_by_name(home: Home) -> None:
    chance, refused = random.Random(SEED), 0
    for _ in range(400):
        value = "".join(
            chance.choice((*VALUES, "\n", " ", "[program:y]\ncommand=rm")) for _ in range(chance.randrange(5))
        )
        try:
            found = parsed([Program("x", "/bin/true", "", {"A": value})], home)
        except StackError:
            refused += 1
            continue
        assert set(found) == {"x"}
        assert found["x"][1]["A"] == value
    assert 50 < refused < 350


def test_the_sockets_path_is_short_enough_in_bytes(tmp_path: Path) -> None:
    # 45 letters, and 90 bytes
    far = Home(Path("/") / ("\u00e4" * 45))
    assert len(os.fsencode(socket_of(far))) < 108
    assert not str(socket_of(far)).startswith(str(far.path))


@pytest.mark.parametrize(
    "name", ["a #b", "a;b", "100%", 'a"b', "a\\b", "a$b", "a[1]", "a*", "{a}", "a: b", "a\tb", "a?"]
)
def test_a_path_that_no_configuration_can_contain_is_rejected_at_once(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / name)
    with pytest.raises(StackError, match="use another path"):
        native.check_paths(home)
    assert any(finding.level == "error" and "use another path" in finding.what for finding in native_findings(home))


# --- processes and clocks


def in_zone(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()


@pytest.mark.case("supervisor gone")
def test_leftovers_of_a_killed_supervisor_are_found_in_another_time_zone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Supervisor(home)
    try:
        in_zone("America/New_York", monkeypatch)
        programs = [Program("sleeper", f"{shutil.which('sleep')} 300", "")]
        (home.config / "supervisord.conf").write_text(configuration(programs, home, home.path))
        made.start()
        wait_for(lambda: made.programs()[0]["statename"] == "RUNNING", 20, "the program")
        (process,) = (psutil.Process(each["pid"]) for each in made.programs())
        # the part's time zone is not supervisor's
        assert process.environ()["TZ"] == "America/New_York"
        os.kill(int((home.path / "supervisord.pid").read_text()), signal.SIGKILL)
        in_zone("Asia/Tokyo", monkeypatch)
        found = leftovers(made.log)
        assert {name: [each.pid for each in group] for name, group in found.items()} == {"sleeper": [process.pid]}
        stop_leftovers(found)
        assert not process.is_running()
    finally:
        monkeypatch.undo()
        time.tzset()
        stop_leftovers(leftovers(made.log))


def test_a_new_supervisor_is_queried_after_the_socket_of_a_killed_one_refused(home: Home) -> None:
    made = Supervisor(home)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_of(home)))
    assert not made.is_running()
    (home.config / "supervisord.conf").write_text(configuration([], home, home.path))
    made.start()
    try:
        wait_for(made.is_running, 20, "the supervisor")
        assert made.programs() == []
    finally:
        made.shut_down()


@pytest.mark.parametrize("name", [b"b) T (c", b"T", b"\xff\xfe) T 1", b"(((", b") T"])
def test_whether_a_process_is_paused_does_not_depend_on_its_name(tmp_path: Path, name: bytes) -> None:
    program = os.path.join(os.fsencode(tmp_path), name)
    shutil.copy(str(shutil.which("sleep")), program)
    child = subprocess.Popen([program, "60"])
    try:
        assert not supervisor._is_paused(child.pid)
        child.send_signal(signal.SIGSTOP)
        wait_for(lambda: supervisor._is_paused(child.pid), 10, "the pause")
    finally:
        child.kill()
        child.wait(10)


def test_only_version_directories_count_as_postgresql_installations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for major in ("15", "9.6", "common", "15.bak"):
        (tmp_path / major / "bin").mkdir(parents=True)
        (tmp_path / major / "bin/postgres").touch()
    monkeypatch.setattr(native, "POSTGRES", tmp_path)
    assert native.find_postgres("postgres", tmp_path / "new").endswith("/15/bin/postgres")


def test_a_log_or_data_of_another_user_is_one_line_of_error(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(file: Path, **_: str) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    (home.logs / "supervisord.log").touch()
    monkeypatch.setattr(Path, "read_text", refused)
    monkeypatch.setattr(up, "HOME", home)
    done = CliRunner().invoke(up.down)
    assert (done.exit_code, done.output.count("\n")) == (1, 1), done.output
    assert "supervisord.log: Permission denied" in done.output
    with pytest.raises(StackError, match="PG_VERSION: Permission denied"):
        native.find_postgres("postgres", tmp_path)


def test_an_unwritable_home_directory_is_one_line_of_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    home = Home(tmp_path / "file" / "home")
    monkeypatch.setattr(up, "HOME", home)
    monkeypatch.setattr(up, "native_findings", lambda home: [])
    monkeypatch.setattr(up, "check_ports", lambda settings, programs: None)
    done = CliRunner().invoke(up.up)
    assert done.exit_code == 2, done.output
    assert "Not a directory" in done.output.splitlines()[-1]


def test_a_log_line_without_a_valid_time_is_not_a_start(tmp_path: Path) -> None:
    log = tmp_path / "supervisord.log"
    log.write_text("x y,1 INFO spawned: 'a' with pid 1\n2026-99-99 99:99:99,1 INFO spawned: 'b' with pid 9\n")
    assert leftovers(log) == {}


@pytest.mark.parametrize(
    ("program", "said"), [("echo no >&2; echo; exit 3", "postgres: no"), ("exit 3", "postgres: no output")]
)
def test_a_failed_postgres_command_is_reported_with_its_last_line(tmp_path: Path, program: str, said: str) -> None:
    server = tmp_path / "postgres"
    server.write_text(f"#!/bin/sh\n{program}\n")
    server.chmod(0o755)
    with pytest.raises(StackError, match=f"^{said}$"):
        database._run([str(server), "--single"])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_a_terminal_cannot_encode_cause_no_traceback(tmp_path: Path, root: Path, encoding: str) -> None:
    (tmp_path / "\u2192\u00b5").mkdir()
    (tmp_path / "\u2192\u00b5/run.json").write_text("{}")
    command = [sys.executable, "-m", "lab", "runs", f"--runs={tmp_path}"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"?" in done.stdout


# --- tools


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a tool on PATH that prints bytes and exits with a status."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def make(name: str, output: bytes = b"", error: bytes = b"", status: int = 0) -> None:
        (tmp_path / "output").write_bytes(output)
        (tmp_path / "error").write_bytes(error)
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\ncat {tmp_path}/output\ncat {tmp_path}/error >&2\nexit {status}\n")
        program.chmod(0o755)

    return make


@pytest.fixture
def no_native_stack(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "HOME", home)


@pytest.mark.usefixtures("no_native_stack")
def test_the_reason_why_docker_shows_no_stack_is_reported(tool: Callable[..., None]) -> None:
    tool("docker", error=b"line\npermission denied: /var/run/docker.sock \xff\n", status=1)
    with pytest.raises(StackError, match=r"no stack is running.*permission denied: /var/run/docker\.sock"):
        faults.running_stack()
    tool("docker")
    with pytest.raises(StackError, match=r"^no stack is running: start one with \S+ \S+( or .*)?$"):
        faults.running_stack()


@pytest.mark.usefixtures("no_native_stack")
def test_output_of_docker_that_is_not_utf_8_causes_no_traceback(tool: Callable[..., None]) -> None:
    tool("docker", b'{"Name":"g-\xff-1","Service":"gateway","State":"running"}\n')
    assert faults.running_stack().parts() == {"gateway": "running"}
    with pytest.raises(StackError, match="its container no longer exists"):
        faults.DockerStack().act("stop", "todo-1")


ROW = b'{"Name":"g-redis-1-1","Service":"redis-1","State":"running"}\n'


def test_a_docker_that_hangs_or_cannot_restart_a_killed_container_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(faults.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(faults, "DOCKER_SECONDS", 1.0)
    (tmp_path / "row").write_bytes(ROW)
    program = tmp_path / "docker"
    program.write_text(
        f"#!/bin/sh\ncase $1 in\ncompose) cat {tmp_path}/row;;\npause) exec sleep 20;;\n"
        "start) echo no port >&2; exit 1;;\nesac\n"
    )
    program.chmod(0o755)
    stack = faults.DockerStack()
    with pytest.raises(StackError, match="cannot pause redis-1: Docker does not answer within 1 s"):
        stack.act("pause", "redis-1")
    with pytest.raises(StackError, match="redis-1 was killed, and cannot be started again: no port"):
        stack.act("kill", "redis-1")


def test_a_hung_checking_tool_rejects_the_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "promtool"
    program.write_text("#!/bin/sh\nexec sleep 20\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(reload, "TOOL_SECONDS", 0.5)
    with pytest.raises(reload.ReloadError, match="promtool does not answer within"):
        reload._ask("promtool", "check", "rules")


def test_fuzzed_kubectl_output_is_read_or_rejected(tool: Callable[..., None]) -> None:
    chance, statuses = random.Random(SEED), []
    status = {"phase": "Running", "containerStatuses": [{"ready": True, "restartCount": 1}]}
    labels = {"app.kubernetes.io/name": "redis"}
    metadata = {"name": "redis-0", "labels": labels, "creationTimestamp": "t"}
    pod = {"kind": "Pod", "metadata": metadata, "spec": {}, "status": status}
    items = [pod, {"kind": "StatefulSet", "metadata": {"name": "redis"}, "spec": {"replicas": 6}}]
    whole = json.dumps({"items": items})
    stack = KubernetesStack(Kubectl("x"))
    special = ("null", "[]", "{}", '"', "7", "\xff", "-1", "redis-x", ",", "")
    for text in ("", "null", "[]", '{"items":null}', '{"items":[null]}', "[" * 100_000, '{"items":[{"kind":"Pod"}]}'):
        tool("kubectl", text.encode("latin-1"))
        with pytest.raises(StackError, match=r"cannot read what `kubectl get|no part of Glasshouse"):
            stack.parts()
    for _ in range(50):
        at = chance.randrange(len(whole))
        text = whole[:at] + chance.choice(special) + whole[at + chance.choice((0, 1, 6)) :]
        tool("kubectl", text.encode("latin-1"))
        try:
            statuses.append(bool(stack.parts()))
        except StackError:
            statuses.append(False)
    assert 2 < statuses.count(True) < 48


def test_files_are_utf_8_in_any_locale(root: Path) -> None:
    reads = (
        "from lab.panels import load_dashboards; load_dashboards();"
        "from lab.alerts.rules import stale_files; assert stale_files() == [];"
        "from lab.alerts.drills.definition import load_drills; load_drills();"
        "from lab.desk.runbooks import Runbooks; assert Runbooks('').page('ServiceDown');"
        "from lab.viewer.assets import page, style, inline_import_map; page(), style(), inline_import_map();"
        "from lab.stack.native import Home, prometheus_config, gateway_config, tempo_config; from lab.settings import"
        " LabSettings as S; from pathlib import Path; h = Home(Path('/h')); prometheus_config(S(), set()),"
        " gateway_config(S(), h), tempo_config(S(), h)"
    )
    # ASCII as the encoding, as in Python before it used UTF-8 for the locale C
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", reads], cwd=root, env=ascii_only, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
