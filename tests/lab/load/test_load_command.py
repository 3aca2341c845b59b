import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import psutil
import pytest

from lab.load.arrivals import due_times
from lab.load.definition import define
from lab.load.errors import CannotRunError
from lab.load.measured import Measured
from lab.load.messages import End, Failed, Plan, Sample, Started
from lab.load.metrics import metrics
from lab.load.prepare import prepare
from lab.load.process import Generator, local_processes
from lab.load.profiles import PROFILES
from lab.load.remote_write import RemoteWriter
from lab.load.requests import RequestStream
from lab.loadtest.background import BackgroundLoad
from lab.prometheus import Prometheus
from lab.report.inside import wait_for_first_scrapes
from lab.runs.record import Run, load
from testbed.conditions import wait_for
from testbed.expositions import Expositions
from testbed.process import free_port
from testbed.prometheus import PrometheusServer
from tests.lab.load.todo_stub import FOREVER, Reply, TodoStub, response


def generate(
    stub: TodoStub,
    folder: Path,
    profile: str = "steady",
    rate: float = 40,
    seconds: float = 3,
    users: int = 100,
    workers: int = 0,
) -> tuple[Measured, int]:
    """The measurements, and how many requests the preparation took."""
    shape = define(profile, rate, seconds)
    tasks, prepared = prepare(stub.url, shape.traffic.prepared, seed=1)
    plan = Plan(profile, rate, seconds, shape.phases, shape.traffic, users, 1, stub.url, tasks)
    measured = Measured()
    with Generator(plan, local_processes(workers, 0, free_port()), folder / "generator.log") as generator:
        while (message := generator.messages.get(timeout=60)) is not None:
            assert not isinstance(message, Failed), message
            if isinstance(message, Sample):
                measured.add(message)
            else:
                assert isinstance(message, Started | End)
    return measured, prepared


def glasshouse(*arguments: str, runs: Path, **environment: str) -> subprocess.Popen[str]:
    # there is no Prometheus: the command reports it and continues
    away = {"PROMETHEUS_PORT": str(free_port()), "LOCUST_PORT": str(free_port())}
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


def test_a_stall_of_one_second_is_fully_visible_in_the_p99(tmp_path: Path) -> None:
    rate, seconds, stall = 50.0, 8.0, 1.0
    due = list(due_times(define("steady", rate, seconds).phases or []))
    stalled = 200
    prepared = PROFILES["steady"].traffic.prepared
    with TodoStub(stall_at=prepared + stalled, stall_seconds=stall) as stub:
        measured, _ = generate(stub, tmp_path, rate=rate, seconds=seconds)
    # requests that were due during the stall waited for its end; the others took almost no time
    waits = sorted(max(0.0, due[stalled] + stall - each) if each >= due[stalled] else 0.0 for each in due)
    truth = waits[math.ceil(0.99 * len(waits)) - 1]
    assert truth > 0.9
    assert measured.latencies.count == len(due)
    # at least: on a busy machine the others take time too
    assert measured.latencies.quantile(0.99) >= truth


def test_with_fewer_users_than_are_due_the_wait_for_a_user_still_counts_as_latency(tmp_path: Path) -> None:
    prepared = PROFILES["steady"].traffic.prepared
    with TodoStub(stall_at=prepared + 40, stall_seconds=1.0) as stub:
        measured, _ = generate(stub, tmp_path, rate=40, seconds=4, users=2)
    assert measured.total.offered == measured.answered == measured.latencies.count == 160
    assert measured.latencies.quantile(0.99) > 0.8
    assert measured.total.lag > 0.5


def test_requests_that_no_user_takes_are_dropped_and_a_long_stall_is_fully_visible(tmp_path: Path) -> None:
    rate, seconds, users = 20.0, 3.0, 10
    prepared = PROFILES["steady"].traffic.prepared

    def stalls(number: int, method: str, right: bytes) -> Reply | None:
        return Reply(right, wait_seconds=7.0) if number >= 20 else None

    with TodoStub(misbehaves=stalls, good=prepared) as stub:
        measured, _ = generate(stub, tmp_path, rate=rate, seconds=seconds, users=users)
        assert measured.total.sent + prepared == stub.total
    # from the 21st on, ten find a user and wait for 7 s; the other thirty find none
    assert (measured.answered, measured.failed, measured.dropped) == (30, 0, 30)
    assert measured.latencies.count == measured.total.offered == 60
    assert measured.latencies.quantile(0.99) >= 7.0
    assert measured.latencies.quantile(0.55) >= 5.0
    assert measured.total.lag >= 5.0
    assert max(each.oldest for each in measured.seconds) > 5.0
    assert measured.limit == "users"


@pytest.mark.parametrize("workers", [0, 2])
def test_every_request_that_was_offered_is_counted_once_on_both_sides(tmp_path: Path, workers: int) -> None:
    with TodoStub() as stub:
        measured, prepared = generate(stub, tmp_path, profile="write-heavy", rate=60, seconds=3, workers=workers)
        assert prepared + measured.total.sent == stub.total
    assert measured.total.offered == measured.answered == 180
    assert measured.failed == measured.dropped == measured.total.resent == 0


def test_a_seed_repeats_the_same_requests(tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        with TodoStub() as stub:
            generate(stub, tmp_path, rate=40, seconds=2)
            texts.append([(method, body) for method, _, body in stub.requests])
    assert sorted(texts[0]) == sorted(texts[1])


def test_each_client_of_the_abuse_profile_has_its_own_address(tmp_path: Path) -> None:
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


def test_the_ci_summaries_of_a_run_agree_with_its_exit_status(tmp_path: Path) -> None:
    with TodoStub(fail_every=5) as stub:
        process = glasshouse(
            "smoke",
            "--time=2s",
            "--rate=20",
            f"--host={stub.url}",
            "--threshold=errors<50%",
            "--threshold=errors<1%",
            f"--junit={tmp_path / 'junit.xml'}",
            f"--json={tmp_path / 'run.json'}",
            runs=tmp_path / "runs",
        )
        output, _ = process.communicate(timeout=60)
    run = only_run(tmp_path / "runs")
    assert process.returncode == 1
    assert run.failed > 0
    assert "status 503" in output
    assert "service levels missed" in output
    cases = {each.get("name"): each for each in ElementTree.parse(tmp_path / "junit.xml").getroot().iter("testcase")}
    assert cases["errors<50%"].find("failure") is None
    assert cases["errors<1%"].find("failure") is not None
    summary = msgspec.json.decode((tmp_path / "run.json").read_bytes())
    assert (summary["id"], summary["met"], summary["failed"]) == (run.id, False, run.failed)
    # the report of the run has them as well
    assert "errors&lt;1%" in (tmp_path / "runs" / run.id / "report.html").read_text()


def test_a_run_without_prometheus_continues_and_reports_what_is_missing(tmp_path: Path) -> None:
    with TodoStub() as stub:
        process = glasshouse("smoke", "--time=2s", f"--host={stub.url}", runs=tmp_path)
        output, _ = process.communicate(timeout=60)
    run = only_run(tmp_path)
    assert process.returncode in (0, 1), output
    assert (run.failed, run.dropped) == (0, 0)
    assert any("all server-side figures" in what for what in run.inside.missing)
    assert any("the generator's metrics" in what for what in run.inside.missing)
    assert (tmp_path / run.id / "report.html").exists()


def test_preparation_retries_a_busy_service_and_counts_each_request(tmp_path: Path) -> None:
    unavailable = response("503 Service Unavailable", b"{}", "retry-after: 0\r\n")
    with TodoStub(misbehaves=lambda number, *_: Reply(unavailable) if number < 3 else None) as stub:
        tasks, sent = prepare(stub.url, 5, seed=1)
        assert len(tasks) == 5
        assert sent == stub.total == 8
    with TodoStub(misbehaves=lambda *_: Reply(unavailable)) as stub:
        with pytest.raises(CannotRunError, match="POST /tasks answers 503"):
            prepare(stub.url, 5, seed=1)


def test_a_load_is_aborted_when_its_condition_holds(tmp_path: Path) -> None:
    def never(number: int, method: str, right: bytes) -> Reply | None:
        return Reply(right, wait_seconds=FOREVER) if number >= 20 else None

    with TodoStub(misbehaves=never, good=PROFILES["smoke"].traffic.prepared) as stub:
        process = glasshouse(
            "smoke", "--time=60s", "--rate=20", f"--host={stub.url}", "--abort-on=p99>500ms for 2s", runs=tmp_path
        )
        output, _ = process.communicate(timeout=60)
    run = only_run(tmp_path)
    assert process.returncode == 1
    assert run.cut_short
    assert run.cut_short.startswith("aborted: p99>500ms for 2s (last ")
    assert f"cut short: {run.cut_short}" in output
    assert run.seconds_run < 30
    assert run.offered == run.answered + run.failed + run.dropped > 20
    assert {name.split(": ")[1] for name in run.failures} == {"unanswered when the load was stopped"}


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes of a running load."""
    below = psutil.Process(process.pid).children(recursive=True)
    return [each for each in below if "--master" in each.cmdline()]


@pytest.mark.case("load, worker")
@pytest.mark.parametrize("on_loss", ["continue", "end"])
def test_a_killed_worker_is_reported_soon_and_fails_the_run(tmp_path: Path, on_loss: str) -> None:
    seconds, rate = 9, 40

    def slowly(number: int, method: str, right: bytes) -> Reply | None:
        return Reply(right, wait_seconds=0.3)

    # requests are in flight at every moment, in the lost worker as well as in the other
    with TodoStub(misbehaves=slowly, good=PROFILES["steady"].traffic.prepared) as stub:
        process = glasshouse(
            "steady",
            f"--time={seconds}s",
            f"--rate={rate}",
            "--workers=2",
            f"--on-worker-loss={on_loss}",
            f"--host={stub.url}",
            runs=tmp_path,
        )
        prepared = PROFILES["steady"].traffic.prepared
        wait_for(lambda: stub.total > prepared + 60, 40, "load")
        lost = workers_of(process)[0]
        lost.kill()
        output, _ = process.communicate(timeout=60)
        sent = stub.total
    run = only_run(tmp_path)
    assert process.returncode == 1
    assert len(run.lost_workers) == 1
    said_at = re.search(r"worker [12] of 2 was lost at (\d+) s", output)
    assert said_at
    assert run.offered == run.answered + run.failed + run.dropped
    if on_loss == "end":
        assert run.cut_short == run.lost_workers[0]
        return
    assert run.cut_short is None
    assert run.offered == seconds * rate
    assert run.dropped > 0
    # requests that the lost worker sent but did not report are counted as dropped
    assert run.prepared + run.answered <= sent
    assert any(line.startswith("failed: ") and "worker was lost" in line for line in output.splitlines())
    assert "the run failed for another reason" in output or "service levels missed" in output


def test_all_offered_requests_of_a_killed_generator_are_counted(tmp_path: Path) -> None:
    def never(number: int, method: str, right: bytes) -> Reply | None:
        return Reply(right, wait_seconds=FOREVER)

    prepared = PROFILES["steady"].traffic.prepared
    with TodoStub(misbehaves=never, good=prepared) as stub:
        process = glasshouse("steady", "--time=60s", "--rate=20", f"--host={stub.url}", runs=tmp_path)
        wait_for(lambda: stub.total > prepared + 40, 40, "load")
        (generator,) = psutil.Process(process.pid).children()
        generator.kill()
        output, _ = process.communicate(timeout=60)
    run = only_run(tmp_path)
    assert process.returncode == 1
    assert "cut short: the load generator ended: see" in output
    assert run.offered == run.answered + run.failed + run.dropped > 0
    assert set(run.failures) == {"requests lost with the generator"}


@pytest.mark.long
def test_breakpoint_on_a_collapsing_service_reports_the_last_rate_that_held(tmp_path: Path) -> None:
    good = PROFILES["breakpoint"].traffic.prepared + 40 * 5 + 52 * 5 + 30

    def collapses(number: int, method: str, right: bytes) -> Reply | None:
        return Reply(right, wait_seconds=FOREVER)

    with TodoStub(misbehaves=collapses, good=good) as stub:
        process = glasshouse("breakpoint", f"--host={stub.url}", runs=tmp_path)
        output, _ = process.communicate(timeout=200)
    run = only_run(tmp_path)
    assert run.offered == run.answered + run.failed + run.dropped
    # on a machine too busy for 100 ms it breaks earlier, and the report says so
    assert run.found in (None, 40.0, 52.0)
    assert process.returncode == (1 if run.found is None else 0), output
    if run.found:
        assert run.collapsed
        assert f"last held at {run.found:.0f} requests a second; at {run.collapsed:.0f} the service collapsed" in output


def test_ctrl_c_stops_the_load_and_keeps_the_measurements(tmp_path: Path) -> None:
    with TodoStub() as stub:
        process = glasshouse("steady", "--time=60s", "--rate=30", f"--host={stub.url}", runs=tmp_path)
        prepared = PROFILES["steady"].traffic.prepared
        wait_for(lambda: stub.total >= prepared + 60, 40, "load")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        sent = stub.total
    run = only_run(tmp_path)
    assert process.returncode == 1
    assert run.cut_short == "stopped by SIGINT"
    assert run.offered == run.answered + run.failed + run.dropped
    assert run.prepared + run.sent + run.resent == sent
    assert "cut short" in (tmp_path / run.id / "report.html").read_text()


def test_other_tools_start_and_stop_a_load(tmp_path: Path) -> None:
    with TodoStub() as stub:
        options = [f"--host={stub.url}", "--time=60s", "--rate=30", f"--prometheus=http://127.0.0.1:{free_port()}"]
        with BackgroundLoad("steady", options, runs=tmp_path, log=tmp_path / "load.log") as background:
            wait_for(lambda: stub.total >= 230, 40, "load")
            assert background.exit_status is None
        assert background.exit_status == 1
        assert "cut short: stopped by SIGINT" in (tmp_path / "load.log").read_text()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Prometheus]:
    rules = [root / "observability/prometheus/rules/load.yml"]
    with (
        PrometheusServer(tmp_path_factory.mktemp("prometheus"), [], rules) as server,
        Prometheus(server.url) as asked,
    ):
        yield asked


def test_two_runs_have_their_own_series_and_end_them(prometheus: Prometheus) -> None:
    measured = Measured()
    measured.total.offered = 7
    one, other = (RemoteWriter(prometheus.url, run) for run in ("a", "b"))
    for phase in ("prepare", "ramp"):
        assert one.write(metrics(measured, "ramp", phase))
        assert other.write(metrics(Measured(), "spike", phase))
    by_run = {each.labels["run"]: each.value for each in prometheus.query("load_requests_offered_total")}
    assert by_run == {"a": 7, "b": 0}
    phases = [(each.labels["run"], each.labels["phase"]) for each in prometheus.query("load_phase_info")]
    assert sorted(phases) == [("a", "ramp"), ("b", "ramp")]
    one.end()
    assert {each.labels["run"] for each in prometheus.query('{__name__=~"load_.+"}')} == {"b"}
    other.end()
    assert prometheus.query('{__name__=~"load_.+"}') == []
    # the counters of the killed processes are still there
    assert len(prometheus.query("last_over_time(load_requests_offered_total[1m])")) == 2


def test_two_concurrent_runs_are_both_correct(tmp_path: Path, prometheus: Prometheus) -> None:
    with TodoStub() as stub:
        both = [
            glasshouse(
                "smoke",
                "--time=4s",
                f"--rate={rate}",
                f"--host={stub.url}",
                runs=tmp_path,
                PROMETHEUS_PORT=prometheus.url.rsplit(":", 1)[1],
            )
            for rate in (10, 20)
        ]
        for process in both:
            process.communicate(timeout=60)
        runs = sorted((load(str(folder)) for folder in tmp_path.iterdir()), key=lambda run: run.offered)
        assert [run.offered for run in runs] == [40, 80]
        assert sum(run.prepared + run.sent + run.resent for run in runs) == stub.total
    for run in runs:
        query = f'max_over_time(load_requests_offered_total{{run="{run.id}"}}[1m])'
        assert prometheus.value(query) == run.offered


def test_counting_starts_with_a_scrape_after_all_earlier_requests(tmp_path: Path) -> None:
    with Expositions({"/metrics": lambda: b"nginx_http_requests_total 1\n"}) as page:
        gateway = {"job_name": "gateway", "static_configs": [{"targets": [page.address]}]}
        with PrometheusServer(tmp_path, [gateway], []) as server, Prometheus(server.url) as asked:
            wait_for(lambda: asked.query('up{job="gateway"} == 1'), 20, "a scrape")
            after = time.time()
            wait_for_first_scrapes(server.url, after, lambda: False)
            assert asked.value('timestamp(up{job="gateway"})') > after


def test_counting_waits_for_the_first_scrape_of_a_prometheus_that_has_just_started(tmp_path: Path) -> None:
    with Expositions({"/metrics": lambda: b"nginx_http_requests_total 1\n"}) as page:
        # it discovers targets five seconds after it is ready, and scrapes them within an interval
        gateway = {"job_name": "gateway", "static_configs": [{"targets": [page.address]}], "scrape_interval": "3s"}
        with PrometheusServer(tmp_path, [gateway], []) as server, Prometheus(server.url) as asked:
            wait_for_first_scrapes(server.url, time.time(), lambda: False)
            assert asked.query("nginx_http_requests_total")


def test_a_prometheus_without_remote_write_is_reported(tmp_path: Path) -> None:
    with TodoStub(misbehaves=lambda *_: Reply(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")) as stub:
        writer = RemoteWriter(stub.url, "a")
        assert not writer.write(metrics(Measured(), "ramp", "ramp"))
        assert writer.reason == "it was started without --web.enable-remote-write-receiver"


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
        (["--workers=3", "--users=2"], "--users 2 is fewer than the 3 workers"),
        (["--workers=many"], "must be from 0 to 64, or auto"),
        (["--abort-on=p99"], "must be like"),
        (["--threshold=p99<1s for"], "must be like"),
        (["./no/such.toml"], "no/such.toml: No such file"),
    ],
)
def test_a_load_that_cannot_run_is_one_line_of_error_and_exit_status_2(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    process = glasshouse(*arguments, runs=tmp_path)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.search(said, error.strip().splitlines()[-1])
    assert not list(tmp_path.iterdir())


def test_without_a_stack_the_message_says_how_to_start_one(tmp_path: Path) -> None:
    process = glasshouse(f"--host=http://127.0.0.1:{free_port()}", runs=tmp_path)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "make native" in error
    assert len(error.strip().splitlines()) == 1


def test_an_unwritable_folder_is_reported_before_the_load(tmp_path: Path) -> None:
    taken = tmp_path / "runs"
    taken.write_text("a file, not a folder")
    with TodoStub() as stub:
        process = glasshouse(f"--host={stub.url}", runs=taken / "below")
        _, error = process.communicate(timeout=60)
        assert not stub.counts
    assert process.returncode == 2
    assert "not writable" in error
