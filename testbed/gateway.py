"""nginx in front of some replicas, with the repository's configuration of the gateway."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from testbed.conditions import wait_for
from testbed.process import Process, free_port, is_listening

CONFIG = Path(__file__).parents[1] / "gateway/nginx.conf"


class Gateway(Process):
    """The gateway. Fails if a line that it must replace is not in the configuration."""

    def __init__(self, directory: Path, ports: Sequence[int]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port, status_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        text = "daemon off;\n" + CONFIG.read_text()
        # no DNS here: one line for each replica
        servers = "\n".join(f"        server 127.0.0.1:{port} max_fails=1 fail_timeout=1s;" for port in ports)
        backups = "\n".join(f"        server 127.0.0.1:{port} max_fails=0 backup;" for port in ports)
        user = "\nuser root;" if os.geteuid() == 0 else ""
        for line, here in {
            # replaced first, because the directory may be below it
            "/tmp/": f"{directory}/",
            "worker_processes auto;": f"worker_processes 1;{user}",
            "        server todo:8000 resolve max_fails=1 fail_timeout=1s;": servers,
            "        server todo:8000 resolve max_fails=0 backup;": backups,
            "    resolver 127.0.0.11 valid=1s ipv6=off;\n": "",
            "listen 5000;": f"listen 127.0.0.1:{self.port};",
            "listen 8081;": f"listen 127.0.0.1:{status_port};",
            "/dev/stdout": f"{directory}/access.log",
            "/var/log/gateway/requests.log": f"{directory}/requests.log",
        }.items():
            assert line in text, f"gateway/nginx.conf has no {line!r}"
            text = text.replace(line, here)
        config = directory / "nginx.conf"
        config.write_text(text)
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        assert program, "nginx is not installed"
        super().__init__([program, "-p", str(directory), "-c", str(config)], directory / "log")

    def __enter__(self) -> "Gateway":
        self.start()
        wait_for(self._is_up, what="the gateway")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _is_up(self) -> bool:
        assert self.is_running, self.output()
        return is_listening(self.port)
