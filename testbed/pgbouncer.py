"""PgBouncer in transaction mode, from the distribution's package."""

import shutil

from testbed.conditions import wait_for
from testbed.postgres import USER, Postgres
from testbed.process import Process, free_port, is_listening

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


class PgBouncer(Process):
    """A pooler in front of a server, with at most `connections` server connections for each database.

    Its files are in the server's directory, which the user that runs both can access.
    """

    def __init__(self, postgres: Postgres, *, connections: int = 2) -> None:
        assert PROGRAM, "pgbouncer is not installed"
        self.port = free_port()
        directory = postgres.directory / f"pgbouncer-{self.port}"
        directory.mkdir()
        users = directory / "users"
        users.write_text('"todo" ""\n')
        configuration = directory / "pgbouncer.ini"
        configuration.write_text(
            f"""[databases]
* = host=127.0.0.1 port={postgres.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {connections}
# round robin, so that a client gets another server connection each time
server_round_robin = 1
max_client_conn = 500
admin_users = todo
"""
        )
        if USER:
            for each in (directory, users, configuration):
                shutil.chown(each, USER, USER)
        super().__init__([PROGRAM, str(configuration)], directory / "log", cwd=directory, user=USER)

    def __enter__(self) -> "PgBouncer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Starts it, and waits until it listens."""
        super().start()
        wait_for(self._is_ready, 15, "PgBouncer")

    def through(self, database_url: str) -> str:
        """A `DATABASE_URL` of the server through the pooler."""
        address, _, name = database_url.rpartition("/")
        return f"{address.rpartition(':')[0]}:{self.port}/{name}"

    def _is_ready(self) -> bool:
        assert self.is_running, self.output()
        return is_listening(self.port)


def is_installed() -> bool:
    """Whether PgBouncer is installed."""
    return bool(PROGRAM)
