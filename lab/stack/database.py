"""Creates PostgreSQL's data directory for the native stack."""

import os
import pwd
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import psutil

from lab.programs import last_line, run_program
from lab.stack.leftovers import SAME_START_SECONDS
from lab.stack.native import Home, StackError, find_postgres, postgres_data, postgres_user


def prepare_postgres(home: Home) -> None:
    """Creates the database, if there is none, in a directory that PostgreSQL's user can reach. Raises `StackError`."""
    link, user = home.data / "postgres", postgres_user()
    data = postgres_data(home)
    if (data / "PG_VERSION").exists():
        _remove_stale_lock(data)
        return
    if user and not _reaches(user, home.data):
        data = Path("/var/lib/glasshouse") / sha256(str(home.path).encode()).hexdigest()[:12]
        data.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(data)
    # created under another name and renamed at the end, so that an interrupted creation is repeated
    new = data.with_name(f"{data.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    if user:
        account = pwd.getpwnam(user)
        os.chown(new, account.pw_uid, account.pw_gid)
    as_user = ["runuser", "-u", user, "--"] if user else []
    initdb = [find_postgres("initdb", data), "-D", str(new), "-U", "todo", "--auth=trust", "--encoding=UTF8"]
    _run([*as_user, *initdb, "--no-locale"])
    single = [*as_user, find_postgres("postgres", data), "--single", "-D", str(new), "postgres"]
    _run(single, "CREATE DATABASE todo;\n")
    if data.is_dir() and not any(data.iterdir()):
        data.rmdir()
    new.rename(data)


def _remove_stale_lock(data: Path) -> None:
    """Removes `postmaster.pid` of a server that was killed, if its process id has been reused, as after a reboot.

    PostgreSQL does not start while a process of its user has that id, whatever program it is.
    """
    lock = data / "postmaster.pid"
    try:
        # the process id, the data directory, and the server's start in unix seconds
        pid, _, began, *_ = lock.read_text(encoding="utf-8", errors="replace").splitlines()
        process = psutil.Process(int(pid))
        is_other = process.create_time() > int(began) + SAME_START_SECONDS and str(data) not in process.cmdline()
    except (FileNotFoundError, ValueError, psutil.Error):
        return
    if is_other:
        lock.unlink()


def _reaches(user: str, directory: Path) -> bool:
    return subprocess.run(["runuser", "-u", user, "--", "test", "-x", str(directory)], check=False).returncode == 0


def _run(command: list[str], given: str = "") -> None:
    # every machine has the locale C; initdb fails if the configured locale is not installed
    environment = {**os.environ, "LANG": "C", "LC_ALL": "C"}
    done = run_program(command, given=given, env=environment, cwd=Path("/"))
    if done.returncode:
        program = next((name for word in command if (name := Path(word).name) in ("initdb", "postgres")), command[0])
        raise StackError(f"{program}: {last_line(done.stderr, done.stdout)}")
