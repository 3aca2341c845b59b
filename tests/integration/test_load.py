import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.load.arrivals import due_times
from lab.load.measured import Measured
from lab.load.messages import End, Failed, Plan, Sample
from lab.load.prepare import prepare
from lab.load.process import Generator
from lab.load.profiles import PROFILES
from lab.load.requests import RequestStream
from lab.report.record import Run, load
from tests.integration.todo_stub import TodoStub


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def generate(
    stub: TodoStub,
    folder: Path,
    profile: str = "steady",
    rate: float = 40,
    seconds: float = 3,
    users: int = 100,
    workers: int = 0,
) -> Measured:
    shape = PROFILES[profile]
    tasks, prepared = prepare(stub.url, shape.traffic.prepared, seed=1)
    plan = Plan(profile, rate, seconds, users, 1, stub.url, tasks)
    measured = Measured(prepared=prepared)
    with Generator(plan, workers, 0, free_port(), folder / "generator.log") as generator:
        while (message := generator.messages.get(timeout=60)) is not None:
            assert not isinstance(message, Failed), message
            if isinstance(message, Sample):
                measured.add(message)
            else:
                assert isinstance(message, End)
    return measured


def glasshouse(*arguments: str, runs: Path, **environment: str) -> subprocess.Popen[str]:
    # what the lab asks beside the service is not there: it says so and goes on
    away = {"PROMETHEUS_PORT": str(free_port()), "DESK_PORT": str(free_port()), "LOCUST_PORT": str(free_port())}
    return subprocess.Popen(
        [sys.executable, "-m", "lab", "load", *arguments, "--runs", str(runs)],
        env={**os.environ, **away, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def only_run(runs: Path) -> Run:
    (folder,) = runs.iterdir()
    return load(str(folder))


def test_a_stall_of_one_second_shows_in_the_p99_as_it_truly_was(tmp_path: Path) -> None:
    rate, seconds, stall = 50.0, 8.0, 1.0
    due = list(due_times(PROFILES["steady"](rate, seconds).phases()))
    stalled = 200
    prepared = PROFILES["steady"].traffic.prepared
    with TodoStub(stall_at=prepared + stalled, stall_seconds=stall) as stub:
        measured = generate(stub, tmp_path, rate=rate, seconds=seconds)
    # whatever was due while the server stood still waited until it went on; the rest took next to nothing
    waits = sorted(max(0.0, due[stalled] + stall - each) if each >= due[stalled] else 0.0 for each in due)
    truth = waits[math.ceil(0.99 * len(waits)) - 1]
    assert truth > 0.9
    assert measured.latencies.count == len(due)
    assert measured.latencies.quantile(0.99) == pytest.approx(truth, rel=0.1)


def test_with_fewer_users_than_are_due_the_wait_for_a_user_still_counts_as_latency(tmp_path: Path) -> None:
    prepared = PROFILES["steady"].traffic.prepared
    with TodoStub(stall_at=prepared + 40, stall_seconds=1.0) as stub:
        measured = generate(stub, tmp_path, rate=40, seconds=4, users=2)
    slow = [each for each in measured.latencies.fine.items() if each[1]]
    assert measured.answered == 160
    assert measured.latencies.quantile(0.99) > 0.8
    assert measured.limit in ("users", "generator")
    assert measured.total.lag > 0.5
    assert slow


def test_every_request_that_was_offered_is_counted_once_on_both_sides(tmp_path: Path) -> None:
    with TodoStub() as stub:
        measured = generate(stub, tmp_path, profile="write-heavy", rate=60, seconds=3)
        assert measured.sent == sum(stub.counts.values())
    assert measured.total.offered == measured.answered == 180
    assert measured.errors == 0


def test_locust_workers_together_send_each_arrival_once(tmp_path: Path) -> None:
    with TodoStub() as stub:
        measured = generate(stub, tmp_path, rate=60, seconds=3, workers=2)
        assert measured.sent == sum(stub.counts.values())
    assert measured.answered == 180
    assert measured.errors == 0


def test_a_seed_repeats_the_same_requests(tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        with TodoStub() as stub:
            generate(stub, tmp_path, rate=40, seconds=2)
            texts.append([(method, body) for method, _, body in stub.requests])
    assert sorted(texts[0]) == sorted(texts[1])


def test_the_clients_of_the_abuse_profile_have_addresses_of_their_own(tmp_path: Path) -> None:
    profile = PROFILES["abuse"](60, 3)
    with TodoStub() as stub:
        generate(stub, tmp_path, profile="abuse", rate=60, seconds=3)
        peers = dict(stub.peers)
    drawn = list(RequestStream(profile.traffic, 1).draw(due_times(profile.phases())))
    assert peers.pop("127.0.0.1") == profile.traffic.prepared
    assert peers == {
        f"127.0.1.{1 + client}": sum(each.client == client for each in drawn)
        for client in range(5)
        if any(each.client == client for each in drawn)
    }


def test_requests_that_should_not_have_failed_give_exit_status_1_and_are_named(tmp_path: Path) -> None:
    with TodoStub(fail_every=5) as stub:
        process = glasshouse("smoke", "--time=2s", "--rate=20", f"--host={stub.url}", runs=tmp_path)
        output, _ = process.communicate(timeout=60)
    run = only_run(tmp_path)
    assert process.returncode == 1
    assert run.errors > 0
    assert "status 503" in output
    assert "service levels missed" in output


def test_a_run_without_prometheus_goes_on_and_says_what_is_missing(tmp_path: Path) -> None:
    with TodoStub() as stub:
        process = glasshouse("smoke", "--time=2s", f"--host={stub.url}", runs=tmp_path)
        output, _ = process.communicate(timeout=60)
    run = only_run(tmp_path)
    assert process.returncode == 0, output
    assert any("Prometheus" in what for what in run.inside.missing)
    assert any("desk" in what for what in run.inside.missing)
    assert (tmp_path / run.id / "report.html").exists()


def test_ctrl_c_stops_the_load_and_keeps_what_was_measured(tmp_path: Path) -> None:
    with TodoStub() as stub:
        process = glasshouse("steady", "--time=60s", "--rate=30", f"--host={stub.url}", runs=tmp_path)
        prepared = PROFILES["steady"].traffic.prepared
        while sum(stub.counts.values()) < prepared + 60:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        sent = sum(stub.counts.values())
    run = only_run(tmp_path)
    assert process.returncode == 1
    assert run.cut_short == "stopped by SIGINT"
    assert 0 < run.answered <= sent - prepared
    assert "cut short" in (tmp_path / run.id / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuch"], "must be one of smoke, ramp"),
        (["--rate=0"], "--rate"),
        (["--rate=many"], "--rate"),
        (["--time=soon"], "must be a time from 1s to 24h"),
        (["--time=25h"], "must be a time from 1s to 24h"),
        (["--host=http://192.0.2.1:5000"], "not this machine.*--allow-remote"),
        (["--host=ftp://127.0.0.1"], "must be a base URL"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line_with_exit_status_2(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    process = glasshouse(*arguments, runs=tmp_path)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.search(said, error.strip().splitlines()[-1])
    assert not list(tmp_path.iterdir())


def test_without_a_stack_it_says_how_to_start_one(tmp_path: Path) -> None:
    process = glasshouse(f"--host=http://127.0.0.1:{free_port()}", runs=tmp_path)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "make native" in error
    assert len(error.strip().splitlines()) == 1


def test_a_place_that_cannot_be_written_is_told_before_any_load(tmp_path: Path) -> None:
    taken = tmp_path / "runs"
    taken.write_text("a file, not a folder")
    with TodoStub() as stub:
        process = glasshouse(f"--host={stub.url}", runs=taken / "below")
        _, error = process.communicate(timeout=60)
        assert not stub.counts
    assert process.returncode == 2
    assert "not writable" in error
