"""Odd files, addresses and responses that the lab's commands get: parsed as meant, or rejected with one line."""

import io
import json
import lzma
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue
from typing import Any
from xml.etree import ElementTree

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from lab.alerts.active import active_alerts
from lab.alerts.command import alerts
from lab.alerts.drills.definition import DrillError, load_drills
from lab.alerts.durations import milliseconds
from lab.alerts.thresholds import ThresholdsError, load_thresholds
from lab.alerts.tuning.command import tune
from lab.alerts.tuning.form import FormError, load_watched
from lab.alerts.tuning.history import HistoryError
from lab.alerts.tuning.recording import load as load_recording
from lab.check import check
from lab.load import cold
from lab.load import prepare as module
from lab.load.definition import define
from lab.load.errors import CannotRunError
from lab.load.messages import End, Sample, encode
from lab.load.prepare import prepare
from lab.load.process import Generator
from lab.load.target import check_target
from lab.loadtest.command import load as load_command
from lab.loadtest.results import write_junit
from lab.prometheus import Prometheus, PrometheusError
from lab.report.command import report
from lab.report.command import runs as runs_command
from lab.report.compare import compare
from lab.runs.record import UnreadableRunError, load, save
from lab.runs.tally import Failure
from lab.settings import ROOT, LabSettings
from service.telemetry.cgroup import Cgroup
from tests.unit.test_load_report import run

SEED = 19


def invoke(command: click.Command, *arguments: str) -> Result:
    """A command's result; it must have exited on its own, without an exception."""
    done = CliRunner().invoke(command, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


# --- runs


def write_run(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Writes a run with one change to its record."""
    folder.mkdir(parents=True)
    save(run(), folder)
    written = json.loads((folder / "run.json").read_bytes())
    change(written)
    (folder / "run.json").write_text(json.dumps(written))


@pytest.mark.parametrize("text", ["", "AAAA", "!!!", "é", "HISTFAAAACx42pNpmSzMwMDAxAABzFCaEUoz2X+AsUAA"])
def test_a_run_with_an_invalid_histogram_is_named_and_the_others_are_listed(tmp_path: Path, text: str) -> None:
    write_run(tmp_path / "a-good", lambda written: None)
    write_run(tmp_path / "b-bad", lambda written: written["seconds"][0].update(reads=text))
    listed = invoke(runs_command, "--runs", str(tmp_path)).output
    assert "1970-01-01 00:00:00" in listed
    assert "b-bad" in listed
    with pytest.raises(UnreadableRunError, match="not readable"):
        load("b-bad", tmp_path)


def test_a_run_of_a_newer_version_is_reported_as_such(tmp_path: Path) -> None:
    write_run(tmp_path / "later", lambda written: written.update(format=99))
    with pytest.raises(UnreadableRunError, match="a later version"):
        load("later", tmp_path)


@pytest.mark.parametrize("began", [1e300, -1e14])
def test_a_time_outside_the_calendar_is_shown_as_a_number(tmp_path: Path, began: float) -> None:
    write_run(tmp_path / "odd", lambda written: written.update(began=began))
    assert f"{began:g}" in invoke(runs_command, "--runs", str(tmp_path)).output
    assert invoke(report, "odd", "--draw", "--runs", str(tmp_path)).exit_code == 0


def test_a_run_without_a_complete_second_cannot_be_compared() -> None:
    assert compare(run(), run(seconds=[])) == []


def test_a_name_with_brackets_is_shown_as_it_is(tmp_path: Path) -> None:
    write_run(tmp_path / "[red]x", lambda written: written.update(id="[/nope]", profile="[bold]"))
    for arguments in (["[red]x"], ["[red]x", "[red]x"]):
        done = invoke(report, *arguments, "--runs", str(tmp_path))
        assert "[/nope]" in done.output or "[bold]" in done.output
    assert "[red]x" in invoke(report, "[red]x", "--runs", str(tmp_path)).output.replace("\n", "")


def test_pruning_does_not_touch_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("runs", "backup"):
        write_run(tmp_path / folder / "one", lambda written: None)
    monkeypatch.chdir(tmp_path / "backup")
    invoke(runs_command, "--prune", "0", "--runs", str(tmp_path / "runs"))
    assert (tmp_path / "backup/one/run.json").exists()
    assert not (tmp_path / "runs/one").exists()


def test_junit_is_well_formed_for_any_server_response(tmp_path: Path) -> None:
    failures = {"GET /tasks: status 500": Failure(1, "\x00\x1b[31m\ufffe \U0001f600 <&>")}
    write_junit(run(failures=failures), tmp_path / "junit.xml")
    said = ElementTree.parse(tmp_path / "junit.xml").getroot().findtext("testsuite/system-out")
    assert said is not None
    assert "\ufffd\ufffd[31m\ufffd \U0001f600 <&>" in said


# --- what a load is asked for


@pytest.mark.parametrize(
    "host",
    [
        *(
            "http://[::1",
            "http://127.0.0.1:abc",
            "http://127.0.0.1:99999",
            "http://127.0.0.1:0",
            "http://",
            "https://x",
        ),
        *("http://127.0.0.1:1/path", "http://127.0.0.1:1?x", "http://user:secret@127.0.0.1:1", "http://127.0.0.1#x"),
        *(f"http://{'a' * 300}", "http://\u00e9..x", "file:///etc/passwd", "127.0.0.1:5000", ""),
    ],
)
def test_a_host_that_is_not_a_base_url_is_rejected(host: str) -> None:
    with pytest.raises(CannotRunError, match=r"--host|has no address"):
        check_target(host, allow_remote=True)


@pytest.mark.parametrize(
    "text",
    [
        "skew = nan",
        "skew = inf",
        "[mix]\nread = inf",
        "[mix]\nread = nan",
        "rate = nan",
        "[[phases]]\nseconds = 5\nrate = [5.0, nan]",
        "[[phases]]\nseconds = inf\nrate = 5",
        'time = "\u0661s"\nx = 1',
    ],
)
def test_a_profile_file_with_invalid_numbers_is_rejected(tmp_path: Path, text: str) -> None:
    file = tmp_path / "odd.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CannotRunError, match=r"odd\.toml"):
        define(str(file))


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (load_command, ["--rate", "nan"]),
        (check, ["--slowest", "nan"]),
        (check, ["--last", "inf"]),
        (tune, ["CacheHitRatioLow", "--threshold", "nan"]),
        (tune, ["CacheHitRatioLow", "--floor", "inf"]),
    ],
)
def test_an_option_that_is_not_a_number_is_rejected(command: click.Command, arguments: list[str]) -> None:
    done = invoke(command, *arguments)
    assert done.exit_code == 2
    assert "is not a number" in done.output


@pytest.mark.parametrize(
    ("host", "runs", "emptied"),
    [
        ("http://127.0.0.1:5000", True, {("127.0.0.1", 7000 + node) for node in range(6)}),
        # names of the Compose network, which may belong to anybody outside it
        ("http://127.0.0.1:5000", False, set()),
        ("http://gateway:5000", False, {(f"redis-{node + 1}", 6379) for node in range(6)}),
        ("http://192.0.2.1:5000", True, set()),
    ],
)
def test_only_the_cache_behind_the_load_is_emptied(
    monkeypatch: pytest.MonkeyPatch, host: str, runs: bool, emptied: set[tuple[str, int]]
) -> None:
    asked: set[tuple[str, int]] = set()
    monkeypatch.setattr(cold, "_flush", lambda node: bool(asked.add(node)))
    monkeypatch.setattr(cold, "_emptied_by_compose", lambda: False)
    monkeypatch.setattr(cold.Supervisor, "is_running", lambda _: runs)
    with pytest.raises(CannotRunError, match="cold-cache"):
        cold.empty_cache(LabSettings(), host)
    assert asked == emptied


@contextmanager
def server(answer: bytes) -> Iterator[str]:
    """Responds to every connection's first request with these bytes; yields the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("wait", ["9" * 5000, "-1", "nan", "\u00b2", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_an_invalid_retry_after_counts_as_a_long_wait(wait: str) -> None:
    head = f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: {wait}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with server(head.encode()) as url, pytest.raises(CannotRunError, match="rate limit"):
        prepare(url, 1, 1)


@pytest.mark.parametrize("stops", [False, True], ids=["stalls", "is stopped"])
def test_a_trickling_server_does_not_block_the_preparation(monkeypatch: pytest.MonkeyPatch, stops: bool) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.5)
    ends = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
                # about ten seconds, while the client reads
                for _ in range(200):
                    connection.sendall(b"1\r\nx\r\n")
                    if ends.wait(0.05):
                        break

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        asked: list[int] = []

        def is_stopped() -> bool:
            asked.append(1)
            return stops and len(asked) > 2

        with pytest.raises(CannotRunError, match="stopped before" if stops else "no task was created within"):
            prepare(address, 1, 1, is_stopped)
        assert thread.is_alive()
        ends.set()
        thread.join(10)


def test_output_that_is_not_a_message_is_logged_and_later_messages_are_read(tmp_path: Path) -> None:
    class Ended:
        stdout = io.BytesIO(b"warning: something\n" + encode(End(found=7.0)) + b"\n\xff\n")

        def wait(self) -> int:
            return 0

    made = Generator.__new__(Generator)
    made.messages, made._log, made._lead = Queue(), tmp_path / "generator.log", Ended()  # type: ignore[assignment]
    made._read()
    assert [made.messages.get(timeout=5) for _ in range(2)] == [End(found=7.0), None]
    assert made._log.read_bytes() == b"warning: something\n\xff\n"


def test_nothing_after_the_generators_last_message_counts_as_a_failure(tmp_path: Path) -> None:
    class Ended:
        stdin = io.BytesIO()
        stdout = io.BytesIO(encode(End(found=7.0)) + b"\n" + encode(Sample()) + b"\n")

        def wait(self) -> int:
            return 0

    made = Generator.__new__(Generator)
    made.messages, made._log, made._lead = Queue(), tmp_path / "generator.log", Ended()  # type: ignore[assignment]
    made._read()
    assert [made.messages.get(timeout=5) for _ in range(3)] == [End(found=7.0), Sample(), None]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cpu.max", b"max 100000"),
        ("cpu.max", b"5 0"),
        ("cpu.max", b"\xff"),
        ("cpu.stat", b"throttled_usec x"),
        ("memory.max", b"-1"),
    ],
)
def test_with_unreadable_cgroup_files_the_machines_limits_apply(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / name).write_bytes(content)
    found = Cgroup(tmp_path)
    assert found.cpu_limit_cores() == os.cpu_count()
    assert found.memory_limit_bytes() > 1 << 20
    assert found.throttled_seconds() == 0


# --- recordings, rule files and thresholds


@pytest.mark.parametrize(
    "text",
    [
        *("a 1 inf", "a 1 1e300", "a 1 1e17", "a 1 nan", "a 1 -1", "a x 1", "a{ 1 1", "\ufeffa 1 1", "a 1"),
        # a binary search in unsorted times would return a random result
        *("a 1 5\na 2 1", "a 1 1\na 2 1"),
    ],
)
def test_an_invalid_line_of_a_recording_is_reported_with_its_number(tmp_path: Path, text: str) -> None:
    file = tmp_path / "odd.om.xz"
    file.write_bytes(lzma.compress(f"{text}\n# EOF\n".encode()))
    with pytest.raises(HistoryError, match=f"line {text.count(chr(10)) + 1} "):
        load_recording(file)


def test_label_values_of_a_recording_may_contain_any_character(tmp_path: Path) -> None:
    file = tmp_path / "odd.om.xz"
    file.write_bytes(lzma.compress('a{x="p\u2028\x85\x0b\\"}q"} 1 1\r\n# EOF\r\n'.encode()))
    (series,) = load_recording(file).series
    assert series.labels == {"x": 'p\u2028\x85\x0b"}q'}


def test_fuzzed_recordings_are_read_or_rejected(tmp_path: Path) -> None:
    chance, file, refused = random.Random(SEED), tmp_path / "odd.om.xz", 0
    whole = 'alert_signal{alert="A",node="x\\"y"} 0.5 1.000\nalert_signal{alert="A"} NaN 2\nALERTS 1 3\n# EOF\n'
    for number in range(1500):
        text = whole
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(text))
            odd = chance.choice(("\x00", "9" * 30, "inf", "nan", "\n", '"', "}", "\\", " ", "e9", "\u2028", ""))
            text = text[:at] + odd + text[at + chance.choice((0, 1, 5)) :]
        content = lzma.compress(text.encode(), preset=0)
        if number % 5 == 0:
            content = content[: chance.randrange(len(content))] + chance.randbytes(3)
        file.write_bytes(content)
        try:
            load_recording(file)
        except HistoryError:
            refused += 1
    assert 300 < refused < 1400


@pytest.mark.parametrize(("text", "days"), [("1w", 7), ("1y", 365), ("1w1d", 8), ("0", 0), ("0s", 0)])
def test_a_duration_is_valid_if_prometheus_accepts_it(text: str, days: int) -> None:
    assert milliseconds(text) == days * 86_400_000


RULE = "groups: [{rules: [{alert: A, expr: x}]}]\n"


@pytest.mark.parametrize(
    "content",
    [
        b"groups: # f\xfcr\n",
        b"[" * 5000,
        b"groups: [{rules: [{alert: A, expr: x}]}]\ngroups: []\n",
        b"groups: [{interval: 2026-02-31}]\n",
        b"a: &a [*a]\ngroups: *a",
        b"x: " + b"9" * 5000,
        b"\x00",
    ],
    ids=lambda content: repr(content[:30]),
)
def test_an_invalid_rule_file_is_one_line_of_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "rules.yml"
    file.write_bytes(content)
    done = invoke(tune, "--rules", str(file), "--alert", "A", "--prometheus", "http://127.0.0.1:1")
    assert done.exit_code == 2
    assert "not a rule file of Prometheus" in done.output
    assert done.output.count("\n") == 1


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_bytes(b"\xef\xbb\xbf" + RULE.encode())
    assert (
        "does not answer"
        in invoke(tune, "--rules", str(file), "--alert", "A", "--prometheus", "http://127.0.0.1:1").output
    )


ONE = "A: {severity: page, for: 1m, threshold: 1, floor: 1}\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{ONE}# f\u00fcr\n".encode("latin-1"), "line 2: not UTF-8"),
        ((ONE + ONE).encode(), "twice"),
        (b"A: {severity: page, for: 1m, for: 2m}\n", "twice"),
        (None, "No such file"),
    ],
)
def test_both_parsers_report_invalid_thresholds(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "thresholds.yml").write_bytes(content)
    with pytest.raises(ThresholdsError, match=said):
        load_thresholds(tmp_path)
    with pytest.raises(FormError, match=said):
        load_watched(tmp_path)


def test_a_duplicate_drill_in_a_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("A: {cannot: x}\nB: {cannot: x}\nA: {cannot: y}\n")
    with pytest.raises(DrillError, match="A is there twice"):
        load_drills(tmp_path)


# --- responses of Prometheus, or of another server at its address

OK = b'{"status":"success","data":%b}'
BODIES = [
    *(b"[]", b"null", b'"x"', b"3", b"{}", b"<html>", b"", b"\xff", b"[" * 100_000, b'{"status":"success"}'),
    *(
        OK % b"null",
        OK % b"[]",
        OK % b"7",
        OK % b'{"resultType":"vector"}',
        OK % b'{"resultType":"vector","result":[{}]}',
    ),
    OK % b'{"resultType":"vector","result":[{"metric":{},"value":[1]}]}',
    OK % b'{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}',
    OK % b'{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}],"groups":[{}],"alerts":[{}]}',
    OK % b'{"resultType":"scalar","result":[]}',
]


def respond(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:60]))
@pytest.mark.parametrize(
    ("command", "option"),
    [(check, "--url"), (alerts, "--url"), (tune, "--prometheus")],
    ids=["check", "alerts", "tune"],
)
def test_a_response_that_is_not_prometheus_is_one_line_of_error(
    command: click.Command, option: str, body: bytes
) -> None:
    more = ["--no-corpus"] if command is tune else []
    with server(respond(body)) as url:
        done = invoke(command, option, url, *more)
    assert done.exit_code in (1, 2)
    assert url in done.output


def test_the_time_of_an_alert_is_parsed_in_any_time_zone() -> None:
    class Canned(Prometheus):
        def query(self, promql: str, at: float | None = None) -> list[Any]:
            return []

        def get(self, path: str, **params: Any) -> Any:
            row = {"labels": {"alertname": "A"}, "annotations": {}, "state": "firing", "value": "1"}
            times = ("2026-01-02T03:04:05.678901234Z", "2026-01-02T05:04:05.678901234+02:00")
            return {"alerts": [{**row, "activeAt": at} for at in times]}

    one, other = active_alerts(Canned("http://127.0.0.1:1"))
    assert one.since == other.since
    assert (one.since.hour, one.since.minute) == (3, 4)


def test_an_alert_without_a_time_is_an_invalid_prometheus_response() -> None:
    class Canned(Prometheus):
        def query(self, promql: str, at: float | None = None) -> list[Any]:
            return []

        def get(self, path: str, **params: Any) -> Any:
            return msgspec.json.decode(b'{"alerts":[{"labels":{"alertname":"A"},"state":"x","activeAt":"soon"}]}')

    with pytest.raises(PrometheusError, match="does not answer as Prometheus does"):
        active_alerts(Canned("http://127.0.0.1:1"))


# --- fuzzed


def test_fuzzed_run_records_are_listed_or_named(tmp_path: Path) -> None:
    chance, readable = random.Random(SEED), 0
    odd: tuple[Any, ...] = (None, [], {}, -1, 0, 1e300, 10**30, "", "[/red]", "\x00", True, ["x"], {"a": 1})

    def change(written: dict[str, Any]) -> None:
        """A value at a random place changed or removed."""
        place: Any = written
        while True:
            key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if isinstance(place[key], dict | list) and place[key] and chance.randrange(3):
                place = place[key]
            elif isinstance(place, dict) and not chance.randrange(4):
                del place[key]
                return
            else:
                place[key] = chance.choice(odd)
                return

    for number in range(120):
        folder = tmp_path / f"{number:03}"
        write_run(folder, change)
        try:
            load(str(folder))
        except UnreadableRunError:
            continue
        readable += 1
        done = invoke(report, str(folder), "--draw", "--runs", str(tmp_path))
        assert done.exit_code == 0, done.output
    assert 10 < readable < 110
    listed = invoke(runs_command, "--runs", str(tmp_path)).output
    assert listed.count("run.json is not readable") >= 1


def test_both_parsers_agree_on_fuzzed_thresholds(tmp_path: Path) -> None:
    chance, taken = random.Random(SEED), 0
    whole = (ROOT / "alerts/thresholds.yml").read_bytes()
    odd = (
        b"\xff",
        b"\x00",
        b"nan",
        b"[",
        b"]",
        b"{",
        b":",
        b"\n",
        b" ",
        b"\t",
        b"!!python/object:os.system ",
        b"&a *a",
        b"-",
        b"9" * 300,
    )
    for _ in range(120):
        at = chance.randrange(len(whole))
        content = whole[:at] + chance.choice(odd) + whole[at + chance.choice((0, 1, 5)) :]
        (tmp_path / "thresholds.yml").write_bytes(content)
        try:
            checked = load_thresholds(tmp_path)
        except ThresholdsError:
            checked = {}
        try:
            watched = load_watched(tmp_path)
        except FormError as error:
            assert not checked, (str(error), content[at - 20 : at + 20])  # noqa: PT017
            watched = {}
        # the other parser reads the same from a file that the stricter one accepts
        assert {name: (each.threshold, each.floor) for name, each in checked.items()} == {
            name: (watched[name].numbers.threshold, watched[name].numbers.floor) for name in checked
        }
        taken += bool(checked)
    assert 10 < taken < 110
