"""`glasshouse --kubernetes load`, with a fake kubectl that runs the pods' commands as local processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab.load.profiles import PROFILES
from lab.runs.record import Run, load
from testbed.conditions import wait_for
from testbed.fake_cluster import LAB_IMAGE, FakeCluster
from testbed.process import free_port
from tests.lab.load.todo_stub import TodoStub

PREPARED = PROFILES["steady"].traffic.prepared


@pytest.fixture
def stub() -> Iterator[TodoStub]:
    with TodoStub() as stub:
        yield stub


@pytest.fixture
def cluster(tmp_path: Path, stub: TodoStub) -> FakeCluster:
    # Prometheus and desk are absent: the load reports it and continues
    away = dict.fromkeys(("prometheus", "desk"), free_port())
    return FakeCluster(tmp_path, gateway=int(stub.url.rpartition(":")[2]), **away)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def start(cluster: FakeCluster, runs: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lab", "--kubernetes", "load", *arguments, f"--runs={runs}"],
        env={**os.environ, "PATH": cluster.path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(command: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = command.communicate(timeout=100)
    return command.returncode, said


def only_run(runs: Path, said: str) -> Run:
    folders = list(runs.iterdir())
    assert len(folders) == 1, said
    (folder,) = folders
    assert (folder / "report.html").exists()
    return load(str(folder))


def test_a_load_in_the_cluster_is_reported_like_a_local_one_and_its_jobs_are_deleted(
    cluster: FakeCluster, stub: TodoStub, runs: Path
) -> None:
    status, said = finish(start(cluster, runs, "steady", "--rate=30", "--time=3s", "--workers=3"))
    run = only_run(runs, said)
    assert status == (0 if run.met else 1), said
    assert "offered" in said
    assert f"report: {runs / run.id / 'report.html'}" in said
    assert run.offered == 90
    assert run.prepared + run.sent + run.resent == stub.total
    assert (run.settings.host, run.settings.workers) == ("http://gateway:5000", 3)
    assert run.settings.command.startswith("glasshouse --kubernetes=glasshouse load steady --rate=30 --time=3s")
    assert "--host" not in run.settings.command
    assert len(cluster.calls("attach load-")) == 1
    assert cluster.of_loads() == []


def test_ctrl_c_ends_a_load_in_the_cluster_and_keeps_the_measurements(
    cluster: FakeCluster, stub: TodoStub, runs: Path
) -> None:
    command = start(cluster, runs, "steady", "--rate=30", "--time=60s")
    wait_for(lambda: stub.total >= PREPARED + 30, 60, "load")
    assert len([each for each in cluster.of_loads() if each.startswith("Job/")]) == 2
    # as a terminal does: also to all processes that the command has started
    os.killpg(command.pid, signal.SIGINT)
    status, said = finish(command)
    run = only_run(runs, said)
    assert (status, run.cut_short) == (1, "stopped by SIGINT"), said
    assert run.offered == run.answered + run.failed + run.dropped
    assert run.prepared + run.sent + run.resent == stub.total
    assert cluster.of_loads() == []


def test_a_killed_coordinator_ends_and_fails_the_run(cluster: FakeCluster, stub: TodoStub, runs: Path) -> None:
    command = start(cluster, runs, "steady", "--rate=30", "--time=60s")
    wait_for(lambda: stub.total >= PREPARED + 60, 60, "load")
    (coordinator,) = (
        each for each in psutil.Process(command.pid).children(recursive=True) if "--workers" in each.cmdline()
    )
    coordinator.kill()
    status, said = finish(command)
    assert status == 1, said
    assert "the load generator ended" in str(only_run(runs, said).cut_short)
    assert cluster.of_loads() == []


def test_pods_that_do_not_start_are_reported_with_the_reason_and_deleted(
    cluster: FakeCluster, stub: TodoStub, runs: Path
) -> None:
    cluster.set(missing=[LAB_IMAGE])
    status, said = finish(start(cluster, runs, "steady"))
    assert status == 2
    assert f"does not start: ImagePullBackOff: Back-off pulling image {LAB_IMAGE}" in said
    assert cluster.of_loads() == []
    assert list(runs.iterdir()) == []
    assert stub.counts["POST"] == 0


def test_remote_workers_are_rejected_in_a_cluster_and_a_given_url_is_loaded_locally(
    cluster: FakeCluster, stub: TodoStub, runs: Path
) -> None:
    status, said = finish(start(cluster, runs, "steady", "--remote-workers=2"))
    assert (status, "use --workers" in said) == (2, True)
    status, said = finish(start(cluster, runs, "smoke", "--time=1s", f"--host={stub.url}"))
    assert only_run(runs, said).settings.host == stub.url
    assert cluster.calls("create") == []
