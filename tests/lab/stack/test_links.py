"""Links in alerts, and routes of notifications, with a real Prometheus with the native stack's flags."""

import json
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

import httpx
import pytest
import yaml

from lab.settings import LabSettings
from lab.stack import native
from lab.stack.native import Home
from testbed.process import Process, free_port


@contextmanager
def fake_alertmanager() -> Iterator[tuple[int, "Queue[str]"]]:
    """A fake Alertmanager: its port, and the `generatorURL` of each alert that it receives."""
    links: Queue[str] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            for alert in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
                links.put(alert["generatorURL"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, links
    finally:
        server.shutdown()


@pytest.mark.case("links")
def test_the_link_of_an_alert_works_on_loopback(tmp_path: Path) -> None:
    home, settings = Home(tmp_path / "a b"), LabSettings(prometheus_port=free_port())
    home.config.mkdir(parents=True)
    (home.data / "prometheus").mkdir(parents=True)
    rule = {"alert": "Always", "expr": "vector(1)"}
    (home.config / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": [rule]}]}))
    command = next(each.command for each in native.programs(settings, home, {}) if each.name == "prometheus")
    with fake_alertmanager() as (port, links):
        config = {
            "global": {"evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]},
        }
        (home.config / "prometheus.yml").write_text(yaml.safe_dump(config))
        # resends until service discovery has found the fake Alertmanager
        again = "--rules.alert.resend-delay=1s"
        process = Process([*shlex.split(command), again], tmp_path / "prometheus.log")
        process.start()
        try:
            link = links.get(timeout=60)
            assert link.startswith(f"{settings.url('prometheus')}/graph?")
            assert httpx.get(link, follow_redirects=True, trust_env=False).status_code == 200
        finally:
            process.stop()
