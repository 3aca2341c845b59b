"""The native stack is prepared in unusual environments, with the real initdb, nginx and Redis."""

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab.settings import LabSettings
from lab.stack.database import prepare_postgres
from lab.stack.native import (
    Home,
    check_paths,
    find_postgres,
    gateway_config,
    postgres_user,
    processes_config,
    programs,
    redis_config,
    tempo_config,
)


@pytest.fixture
def home() -> Iterator[Home]:
    """A home directory that PostgreSQL's user can reach; pytest's folders are not."""
    folder = Path(tempfile.mkdtemp(prefix="glasshouse h\u00e4user "))
    folder.chmod(0o755)
    made = Home(folder)
    made.data.mkdir()
    yield made
    shutil.rmtree(folder)


@pytest.mark.case("locale")
def test_the_database_is_created_even_if_the_locale_is_not_installed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    prepare_postgres(home)
    assert (home.data / "postgres/PG_VERSION").read_text().strip().isdigit()


def test_an_interrupted_first_start_is_repeated(home: Home) -> None:
    # the files that a killed initdb leaves
    half = home.data / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("15\n")
    prepare_postgres(home)
    assert (home.data / "postgres/global").is_dir()
    assert not half.exists()


def test_a_database_starts_although_its_lock_has_the_pid_of_another_program(home: Home) -> None:
    """As after a reboot or the restart of a container, when process ids start again."""
    prepare_postgres(home)
    user, data = postgres_user() or None, home.data / "postgres"
    lock = data / "postmaster.pid"
    serve = [
        find_postgres("postgres", data),
        "-D",
        str(data),
        "-c",
        "listen_addresses=",
        "-c",
        "unix_socket_directories=",
    ]
    with subprocess.Popen(["sleep", "60"], user=user) as other:
        # an hour ago, a server with that process id was killed
        lock.write_text(f"{other.pid}\n{data}\n{time.time() - 3600:.0f}\n5433\n\n\n")
        if user:
            shutil.chown(lock, user, user)
        try:
            refused = subprocess.run(serve, user=user, cwd="/", capture_output=True, text=True, timeout=60, check=False)
            assert 'lock file "postmaster.pid" already exists' in refused.stderr
            prepare_postgres(home)
            assert not lock.exists()
        finally:
            other.kill()


def test_the_lock_of_a_running_database_is_kept(home: Home) -> None:
    prepare_postgres(home)
    data = home.data / "postgres"
    for content in (f"{os.getpid()}\n{data}\n{time.time() + 60:.0f}\n", "", "x\ny\nz\n"):
        (data / "postmaster.pid").write_text(content)
        prepare_postgres(home)
        assert (data / "postmaster.pid").read_text() == content


@pytest.mark.case("path of the clone")
@pytest.mark.parametrize("name", ["a b", "h\u00e4user", "it's", "a(b)", "a&b|c", "a,b=c", "@+~!", "-a"])
def test_nginx_and_redis_accept_a_configuration_in_a_folder_with_special_characters(tmp_path: Path, name: str) -> None:
    home, settings = Home(tmp_path / name), LabSettings()
    check_paths(home)
    for folder in (home.config, home.logs, home.data / "gateway", home.data / "redis-1"):
        folder.mkdir(parents=True)
    (home.config / "nginx.conf").write_text(gateway_config(settings, home))
    (home.config / "redis-1.conf").write_text(redis_config(settings, home, 0))
    found = {each.name: shlex.split(each.command) for each in programs(settings, home, {})}
    nginx = subprocess.run([*found["gateway"], "-t"], capture_output=True, text=True, check=False)
    assert nginx.returncode == 0, nginx.stderr
    # nginx opens its logs in the right folder
    assert (home.logs / "gateway-requests.log").exists()
    # an unknown setting ends it after all others were parsed
    redis = subprocess.run([*found["redis-1"], "--no-such", "1"], capture_output=True, text=True, check=False)
    assert "no-such" in redis.stdout + redis.stderr
    assert str(home.data / "tempo") in str(yaml.safe_load(tempo_config(settings, home)))
    assert yaml.safe_load(processes_config(home))["process_names"]
