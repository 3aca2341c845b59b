"""The processes that the native stack's process-exporter matches."""

import re
from pathlib import Path

import pytest
import yaml

from lab.settings import ROOT
from lab.stack.native import Home, postgres_data, processes_config


def _parts(config: str, command: str) -> list[str]:
    """The groups that a command line falls into."""
    found = []
    for group in yaml.safe_load(config)["process_names"]:
        for pattern in group["cmdline"]:
            if match := re.search(pattern, command):
                found.append(match.groupdict().get("node", group["name"]))
    return found


@pytest.mark.parametrize("folder", ["plain", "a b", "it's 1.0", "x+y"])
def test_a_native_stack_matches_its_own_processes_and_not_those_of_another_stack(tmp_path: Path, folder: str) -> None:
    mine, other = Home(tmp_path / folder), Home(tmp_path / "other")
    config = processes_config(mine)
    commands = {
        "redis-3": "/usr/bin/redis-server {config}/redis-3.conf",
        "postgres": "/usr/lib/postgresql/15/bin/postgres -D {data} -c port=5433",
        "gateway": "nginx: master process /usr/sbin/nginx -p {config} -c {config}/nginx.conf -g daemon off;",
    }
    for part, command in commands.items():
        assert _parts(config, command.format(config=mine.config, data=postgres_data(mine))) == [part]
        assert _parts(config, command.format(config=other.config, data=postgres_data(other))) == []


def test_the_process_exporter_matches_the_command_lines_of_the_containers() -> None:
    config = (ROOT / "observability/exporters/processes.yml").read_text()
    redis = "redis-server /etc/redis.conf --maxmemory 64mb --cluster-announce-hostname redis-6 --port 6379"
    assert _parts(config, redis) == ["redis-6"]
    assert _parts(config, "postgres") == ["postgres"]
    assert _parts(config, "postgres -c listen_addresses=*") == ["postgres"]
    assert _parts(config, "/usr/lib/postgresql/18/bin/postgres") == ["postgres"]
    assert _parts(config, "/usr/lib/postgresql/18/bin/postgres -D /srv/another") == []
    assert _parts(config, "postgres: checkpointer ") == []
    assert _parts(config, "nginx: master process nginx -g daemon off;") == ["gateway"]
