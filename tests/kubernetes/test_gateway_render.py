"""The gateway's configuration for a pod: every substitution finds its text."""

import os
import subprocess
from pathlib import Path

import pytest

from lab.settings import ROOT
from tests.kubernetes.manifests import KUBERNETES

RESOLV = "search glasshouse.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"


def rendered(tmp_path: Path, resolv: str = RESOLV, **environment: str) -> str:
    (tmp_path / "resolv.conf").write_text(resolv)
    source, target = ROOT / "gateway/nginx.conf", tmp_path / "nginx.conf"
    script = KUBERNETES / "base/render.sh"
    subprocess.run(
        ["sh", str(script), str(source), str(target), str(tmp_path / "resolv.conf")],
        check=True,
        env={**os.environ, "WORKERS": "1", **environment},
    )
    return target.read_text()


def test_replicas_are_resolved_by_their_full_name_in_the_clusters_dns(tmp_path: Path) -> None:
    text = rendered(tmp_path)
    assert "resolver 10.96.0.10 valid=5s ipv6=off;" in text
    assert text.count("server todo.glasshouse.svc.cluster.local:8000 resolve") == 2
    assert "127.0.0.11" not in text
    assert "server todo:" not in text


def test_there_are_as_many_workers_as_the_pod_may_use_cores(tmp_path: Path) -> None:
    assert "worker_processes 3;" in rendered(tmp_path, WORKERS="3")


def test_an_ipv6_resolver_is_written_in_brackets_for_nginx(tmp_path: Path) -> None:
    assert "resolver [fd00::a] " in rendered(tmp_path, RESOLV.replace("10.96.0.10", "fd00::a"))


@pytest.mark.parametrize("log", ["", "/var/log/gateway/requests.log"])
def test_the_request_log_is_written_only_if_desk_counts_it(tmp_path: Path, log: str) -> None:
    text = rendered(tmp_path, REQUEST_LOG=log)
    assert ("requests.log counted" in text) is bool(log)
    # the access log for people exists in either case
    assert "access_log /dev/stdout json;" in text


def test_nothing_else_is_changed(tmp_path: Path) -> None:
    before = (ROOT / "gateway/nginx.conf").read_text().splitlines()
    after = rendered(tmp_path, REQUEST_LOG="/var/log/gateway/requests.log").splitlines()
    assert len(before) == len(after)
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 4
