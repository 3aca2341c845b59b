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
    """A program of the newest PostgreSQL here. Debian keeps them off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    program = str(found[-1]) if found else shutil.which(name)
    assert program, f"{name} is not installed"
    return program


class Postgres(Process):
    """One server. `is_durable=False` leaves out fsync, for tests that are not about durability."""

    def __init__(self, *, is_durable: bool = False) -> None:
        # not among pytest's directories, which no other user may enter
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
        """Ends it, cutting off its clients."""
        self.resume()
        return super().stop(number, timeout)

    def kill(self) -> int:
        """Kills it with all its processes, as when a machine loses its power."""
        if self.is_running:
            # stopped first, so that it does not clean up after its children
            super().pause()
            for child in psutil.Process(self.pid).children(recursive=True):
                child.kill()
        return super().kill()

    def pause(self) -> None:
        """Freezes it with all its processes: connections stay open, and nothing is answered."""
        super().pause()
        for child in psutil.Process(self.pid).children(recursive=True):
            child.suspend()

    def resume(self) -> None:
        """Lets all of it go on."""
        if self.is_running and self.is_paused:
            for child in psutil.Process(self.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.resume()
        super().resume()

    def new_database(self) -> str:
        """Makes an empty database. What `DATABASE_URL` takes for it."""
        self._databases += 1
        name = f"todo_{self._databases}"
        self.sql(f"CREATE DATABASE {name}", "postgres")
        return self.url(name)

    def url(self, name: str) -> str:
        """What `DATABASE_URL` takes for a database."""
        return f"postgresql+asyncpg://todo@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str, database: str) -> str:
        """What psql prints for a statement, unaligned."""
        return self._run(
            "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "todo", "-d", database, "-AtXqc", statement
        )

    def set(self, name: str, value: str) -> None:
        """Sets a parameter for all sessions, as an operator does who reloads the configuration."""
        self.sql(f"ALTER SYSTEM SET {name} = '{value}'", "postgres")
        self.sql("SELECT pg_reload_conf()", "postgres")
        wait_for(lambda: self.sql(f"SHOW {name}", "postgres") == value, what=f"{name} = {value!r}")

    def own(self, file: Path) -> None:
        """Makes a file the server's own, which nobody else reads."""
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
