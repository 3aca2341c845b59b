"""The native stack's supervisor (http://supervisord.org): its configuration, and a client for its socket."""

import hashlib
import os
import re
import resource
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import Signals
from typing import Any, cast

import psutil
from supervisor.xmlrpc import SupervisorTransport

from lab.programs import last_line, run_program
from lab.stack.native import SAFE_PATH, Home, Program, StackError

# the maximum length of a Unix socket's path in bytes, minus what supervisor appends while it binds
MAX_SOCKET_PATH = 90
# limit of open files per part, if the machine allows it
FILES = 4096
LOCAL = "127.0.0.1,localhost,::1"
# a variable of supervisor that expands to nothing
NOTHING = "GLASSHOUSE_NOTHING"


def socket_of(home: Home) -> Path:
    """The supervisor's socket, in the directory for temporary files if the repository's path is too long."""
    path = home.path / "supervisor.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    name = hashlib.sha256(str(home.path).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"glasshouse-{name}.sock"


def configuration(programs: Sequence[Program], home: Home, directory: Path) -> str:
    """supervisord.conf: every program is restarted when it exits.

    Supervisor waits a second longer after each failed start. It retries 1000 times, because the cause of a failed
    start, such as a full disk, may be fixed later.
    """
    socket = socket_of(home)
    logs = _escaped(str(home.logs))
    # supervisord refuses to start if it cannot raise its own limit to this value
    _, max_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    sections = [
        f"""[supervisord]
logfile={logs}/supervisord.log
pidfile={_escaped(str(home.path))}/supervisord.pid
childlogdir={logs}
directory={_escaped(str(directory))}
minfds={min(FILES, max_files) if max_files != resource.RLIM_INFINITY else FILES}
[unix_http_server]
file={_escaped(str(socket))}
chmod=0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{_escaped(str(socket))}
"""
    ]
    for program in programs:
        environment = ",".join(
            f"{name}={_quoted(name, value)}" for name, value in _with_time_zone(program.environment).items()
        )
        sections.append(
            f"""[program:{program.name}]
command={_escaped(program.command)}
environment={environment}
autorestart=true
startsecs=1
startretries=1000
stopsignal={program.stop_signal}
stopwaitsecs={program.stop_seconds}
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile={logs}/{program.name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=1
"""
            + (f"user={program.user}\n" if program.user else "")
        )
    return "".join(sections)


class Supervisor:
    """The supervisor of a native stack, whether running or not."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._socket = socket_of(home)

    @property
    def _rpc(self) -> Any:
        """A client of the supervisor's socket, with a connection of its own.

        A connection that was refused once cannot be used again, even after another supervisor has begun to listen.
        """
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=cast(Any, transport))

    def is_running(self) -> bool:
        """Whether the supervisor answers."""
        if not self._socket.exists():
            return False
        try:
            self._rpc.supervisor.getState()
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    @property
    def log(self) -> Path:
        """supervisord's log, which has a line for every process that it started."""
        return self._home.logs / "supervisord.log"

    def start(self) -> None:
        """Starts the supervisor, which starts all programs. Raises `StackError`."""
        self._socket.unlink(missing_ok=True)
        done = run_program(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._home.config / "supervisord.conf")],
            # UTC, because its log has local times, which lab.stack.leftovers parses
            env={**_environment(), "TZ": "UTC", NOTHING: ""},
        )
        if done.returncode:
            raise StackError(f"supervisor did not start: {last_line(done.stderr, done.stdout)}")

    def shut_down(self, within: float = 40) -> None:
        """Stops all programs and the supervisor. Raises `StackError` if that takes longer than `within` seconds."""
        # a paused process does not handle SIGTERM
        for name in self.paused():
            self.signal(name, "CONT")
        self._rpc.supervisor.shutdown()
        deadline = time.monotonic() + within
        pid = self._home.path / "supervisord.pid"
        while self.is_running() or pid.exists():
            if time.monotonic() > deadline:
                raise StackError(
                    f"not all programs stopped within {within:.0f} s: see {self._home.logs}/supervisord.log"
                )
            time.sleep(0.1)

    def programs(self) -> list[dict[str, Any]]:
        """The state of all programs (`getAllProcessInfo`)."""
        return cast(list[dict[str, Any]], self._rpc.supervisor.getAllProcessInfo())

    def paused(self) -> list[str]:
        """The programs that are paused."""
        return [each["name"] for each in self.programs() if each["pid"] and _is_paused(each["pid"])]

    def start_program(self, name: str) -> None:
        """Starts one program."""
        self._rpc.supervisor.startProcess(name)

    def stop_program(self, name: str) -> None:
        """Stops one program and waits until it has exited."""
        if name in self.paused():
            self.signal(name, "CONT")
        self._rpc.supervisor.stopProcess(name)

    def signal(self, name: str, signal: str) -> None:
        """Sends a signal, such as `STOP` or `KILL`, to one program and all its children. Raises `StackError`.

        This is what pausing or killing a container does. nginx and PostgreSQL serve requests in child processes, which
        could outlive their parent.
        """
        pid = self._rpc.supervisor.getProcessInfo(name)["pid"]
        if not pid:
            raise StackError(f"{name} is not running")
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(Signals[f"SIG{signal}"])


def _environment() -> dict[str, str]:
    """The environment of all parts: a locale that every machine has, and no proxy for local addresses."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    for name in ("no_proxy", "NO_PROXY"):
        environment[name] = ",".join(filter(None, (os.environ.get(name), LOCAL)))
    return {**environment, **SAFE_PATH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def _is_paused(pid: int) -> bool:
    try:
        # the state follows the process name, which is in parentheses and may itself contain any character
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"
    except (OSError, IndexError):
        return False


def _with_time_zone(environment: Mapping[str, str]) -> dict[str, str]:
    """A part's environment with the time zone of this process, because supervisor's own is UTC."""
    return {"TZ": os.environ.get("TZ", ":/etc/localtime"), **environment}


def _quoted(name: str, value: str) -> str:
    """A quoted value of `environment=`, where quotes cannot be escaped. Raises `StackError` for unsupported values."""
    quote = "'" if '"' in value else '"'
    if quote in value or value.strip("'\"") != value or re.search("[\\x00-\\x08\\x0a-\\x1f]", value):
        raise StackError(
            f"{name}: supervisor cannot pass a value with both kinds of quotes, with a quote at either end, or with a"
            " line break"
        )
    # supervisor treats a ; or # after a blank as the start of a comment, even within quotes
    return quote + re.sub(r"(?<=\s)(?=[;#])", f"%(ENV_{NOTHING})s", _escaped(value)) + quote


def _escaped(text: str) -> str:
    # supervisor expands %(name)s
    return text.replace("%", "%%")
