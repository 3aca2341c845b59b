"""A Prometheus on a free port, with configuration and rules given by the test."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from testbed.conditions import wait_for
from testbed.process import Process, free_port


class PrometheusServer:
    """By default it scrapes and evaluates every second, so that tests do not wait long."""

    def __init__(
        self, folder: Path, scrapes: Sequence[Mapping[str, Any]], rules: Sequence[Path], interval: str = "1s"
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        itself = {"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        config = folder / "prometheus.yml"
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": interval, "evaluation_interval": interval},
                    "rule_files": [str(file) for file in rules],
                    "scrape_configs": [itself, *scrapes],
                }
            )
        )
        self.process = Process(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
                "--web.enable-remote-write-receiver",
            ],
            folder / "prometheus.log",
        )

    def __enter__(self) -> Self:
        self.process.start()
        wait_for(self._is_ready, 30, "Prometheus")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stop()

    def _is_ready(self) -> bool:
        assert self.process.is_running, self.process.output()
        try:
            return httpx.get(f"{self.url}/-/ready", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False
