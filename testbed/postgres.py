"""PostgreSQL, from the distribution's package."""

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from signal import SIGINT
from types import TracebackType

import psutil

from testbed.conditions import wait_for
from testbed.process import Process, free_port

# the server refuses to run as root
USER = "postgres" if os.geteuid() == 0 else None


def _program(name: str) -> str:
    """A program of the newest installed PostgreSQL. Debian does not put them on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    program = str(found[-1]) if found else shutil.which(name)
    assert program, f"{name} is not installed"
    return program


class Postgres(Process):
    """One server. `is_durable=False` turns fsync off, for tests that are not about durability."""

    def __init__(self, *, is_durable: bool = False) -> None:
        # not in pytest's directories, which other users cannot access
        directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        if USER:
            shutil.chown(directory, USER, USER)
        self.port = free_port()
        self.directory = directory
        self._data = directory / "data"
        self._databases = 0
        super().__init__(
            [
                *(_program("postgres"), "-D", str(self._data), "-p", str(self.port)),
                *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={directory}"),
                *("-c", f"fsync={'on' if is_durable else 'off'}"),
                *("-c", "max_connections=200"),
            ],
            directory / "log",
            cwd=directory,
            user=USER,
        )

    def __enter__(self) -> "Postgres":
        self._run("initdb", "-D", str(self._data), "-U", "todo", "-A", "trust", "--no-sync", "-E", "UTF8")
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._data.parent, ignore_errors=True)

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        super().start()
        wait_for(self._is_ready, 30, "PostgreSQL's answer")

    def stop(self, number: int = SIGINT, timeout: float = 15.0) -> int:
        """Stops it, and closes its clients' connections."""
        self.resume()
        return super().stop(number, timeout)

    def kill(self) -> int:
        """Kills it with all its processes, like a power failure."""
        if self.is_running:
            # paused first, so that it does not clean up after its children
            super().pause()
            for child in psutil.Process(self.pid).children(recursive=True):
                child.kill()
        return super().kill()

    def pause(self) -> None:
        """Freezes it with all its processes: connections stay open, but nothing is answered."""
        super().pause()
        for child in psutil.Process(self.pid).children(recursive=True):
            child.suspend()

    def resume(self) -> None:
        """Resumes it."""
        if self.is_running and self.is_paused:
            for child in psutil.Process(self.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.resume()
        super().resume()

    def new_database(self) -> str:
        """Creates an empty database, and returns its `DATABASE_URL`."""
        self._databases += 1
        name = f"todo_{self._databases}"
        self.sql(f"CREATE DATABASE {name}", "postgres")
        return self.url(name)

    def url(self, name: str) -> str:
        """The `DATABASE_URL` of a database."""
        return f"postgresql+asyncpg://todo@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str, database: str) -> str:
        """The unaligned output of psql for a statement."""
        return self._run(
            "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "todo", "-d", database, "-AtXqc", statement
        )

    def set(self, name: str, value: str) -> None:
        """Sets a parameter for all sessions, by reloading the configuration."""
        self.sql(f"ALTER SYSTEM SET {name} = '{value}'", "postgres")
        self.sql("SELECT pg_reload_conf()", "postgres")
        wait_for(lambda: self.sql(f"SHOW {name}", "postgres") == value, what=f"{name} = {value!r}")

    def own(self, file: Path) -> None:
        """Makes a file belong to the server's user, readable only for it."""
        if USER:
            shutil.chown(file, USER, USER)
        file.chmod(0o600)

    def _is_ready(self) -> bool:
        assert self.is_running, self.output()
        ready = [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    def _run(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [_program(name), *arguments],
            check=False,
            capture_output=True,
            text=True,
            user=USER,
            group=USER,
            extra_groups=[] if USER else None,
            cwd=self._data.parent,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()
