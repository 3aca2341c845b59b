"""What others send to the desk, write into the gateway's log or keep in its inbox: nothing of it loses the counts."""

import asyncio
import json
import random
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from lab.desk.app import create_app
from lab.desk.disk import Disk
from lab.desk.gateway_log import MOST_LINE_BYTES, GatewayLog
from lab.desk.inbox import Inbox
from lab.desk.notified import Notified
from lab.desk.page import SILENT_SECONDS
from lab.desk.runbooks import Runbooks
from testbed.replica import Samples
from tests.unit.test_alerts_desk import JSON, line, notification

SEED = 19
PATHS = ("/", "/inbox.json", "/verdicts.json", "/metrics", "/faults.json")
Desk = TestClient[Any]


@pytest.fixture
def new_desk(tmp_path: Path) -> Callable[[Inbox], Desk]:
    def make(inbox: Inbox) -> Desk:
        parts = (GatewayLog(tmp_path / "none"), Disk(tmp_path), Runbooks("http://127.0.0.1:3000"))
        return TestClient(create_app(inbox, *parts), base_url="http://127.0.0.1:8060", raise_server_exceptions=False)

    return make


@pytest.fixture
def desk(new_desk: Callable[[Inbox], Desk]) -> Desk:
    return new_desk(Inbox())


def statuses(desk: Desk) -> list[int]:
    return [desk.get(path).status_code for path in PATHS]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("starts", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-01-02T03:04:05+14:00"])
def test_the_page_shows_any_time_in_any_zone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, zone: str, starts: str
) -> None:
    message = notification()
    message["alerts"][0]["startsAt"] = starts
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert desk.post("/alerts", json=message).status_code == 204
        assert statuses(desk) == [200] * len(PATHS)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_heartbeat_that_stopped_is_late_whatever_the_clock_is_set_to(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.post("/heartbeat", json=notification()).status_code == 204
    assert 'class="quiet">Last heartbeat' in desk.get("/").text
    monkeypatch.setattr("time.time", lambda: 0.0)
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + SILENT_SECONDS + 1)
    assert 'class="late">Last heartbeat' in desk.get("/").text


def test_a_time_without_an_offset_is_refused_and_not_kept(desk: Desk) -> None:
    message = notification()
    message["alerts"][0]["startsAt"] = "2026-01-02T03:04:05"
    for _ in range(2):
        assert desk.post("/alerts", json=message).status_code == 400
    assert desk.get("/inbox.json").json()["received"] == 0


def test_a_verdict_on_a_number_that_no_row_can_have_is_400(desk: Desk) -> None:
    for number in ("0", "-1", "9223372036854775808", "9" * 40, "9" * 5000):
        assert desk.post(f"/notifications/{number}/useful").status_code == 400, number


def test_whatever_is_posted_is_taken_or_refused_and_every_page_still_answers(desk: Desk) -> None:
    chance, told = random.Random(SEED), json.dumps(notification()).encode()
    fault = b'{"part":"redis-1","kind":"pause","begin":1.5,"end":null,"drill":""}'
    odd = (b"", b"\xff", b"\\ud800", b"\x00", b"1e999", b"1e308", b"null", b"[]", b"{", b'"', b"-", b"9" * 400)
    bodies = [b"[" * 100_000, b'{"a":' * 100_000]
    for _ in range(700):
        body = bytearray(chance.choice((told, fault)))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(body))
            body[at : at + chance.choice((0, 1, 8))] = chance.choice(odd)
        bodies.append(bytes(body))
    for body in bodies:
        method, path = chance.choice((("POST", "/alerts"), ("POST", "/heartbeat"), ("PUT", "/faults")))
        assert desk.request(method, path, content=body, headers=JSON).status_code in (204, 400), body[:200]
    assert statuses(desk) == [200] * len(PATHS)


def test_rows_of_another_version_are_passed_over(new_desk: Callable[[Inbox], Desk], tmp_path: Path) -> None:
    file = tmp_path / "inbox.sqlite"
    desk = new_desk(Inbox(file=file))
    assert desk.post("/alerts", json=notification()).status_code == 204
    (text,) = sqlite3.connect(file).execute("SELECT message FROM notification").fetchone()
    with sqlite3.connect(file) as other:
        for message, verdict in ((b'{"newer":1}', "useful"), (b"\xff", ""), (text, "maybe"), (text, "noise")):
            other.execute("INSERT INTO notification (received, message, verdict) VALUES (1, ?, ?)", (message, verdict))
    assert statuses(desk) == [200] * len(PATHS)
    assert [each["verdict"] for each in desk.get("/inbox.json").json()["notifications"]] == ["noise", "", ""]
    assert desk.get("/verdicts.json").json() == {"RedisNodeDown": {"useful": 0, "noise": 1}}


def test_an_inbox_whose_file_is_broken_is_503_and_the_counts_go_on(
    new_desk: Callable[[Inbox], Desk], tmp_path: Path
) -> None:
    file = tmp_path / "inbox.sqlite"
    first = Inbox(file=file)
    desk = new_desk(first)
    for _ in range(40):
        desk.post("/alerts", json=notification())
    first._database.close()
    content = file.read_bytes()
    # the head and the table's definition stay
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    try:
        desk = new_desk(Inbox(file=file))
    except sqlite3.Error:
        # said at its start
        return
    assert {desk.get("/").status_code, desk.post("/alerts", json=notification()).status_code} == {503}
    assert desk.get("/metrics").status_code == 200


def test_a_table_that_is_another_programs_is_said_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "inbox.sqlite"
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE notification (x)")
    with pytest.raises(sqlite3.Error, match="no such column"):
        Inbox(file=file)


@contextmanager
def alertmanager(body: bytes, trickles: bool = False) -> Iterator[str]:
    """Answers one request with a body, at once or a byte at a time for as long as somebody reads; its address."""
    ends = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)
                while trickles and not ends.wait(0.05):
                    connection.sendall(b" ")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ends.set()
            thread.join(10)


@pytest.mark.parametrize(
    "body",
    [
        b'[{"status":{"silencedBy":[],"inhibitedBy":[]},"labels":[]}]',
        b'[{"status":{"silencedBy":["s"],"inhibitedBy":[]},"labels":{"alertname":"\\ud800"}}]',
        b'[{"status":{"silencedBy":["s"],"inhibitedBy":[]},"labels":{"alertname":3}}]',
        *(b"[" * 100_000, b"{}", b"null", b"3", b"\xff", b"<html>", b""),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_whatever_alertmanager_answers_the_metrics_are_there(body: bytes) -> None:
    with alertmanager(body) as address:
        told = Notified(address, ["A"])
        assert 'alert_told_total{alertname="A"} 0.0' in asyncio.run(told.exposition())


def test_a_scrape_waits_no_longer_for_an_alertmanager_that_trickles() -> None:
    with alertmanager(b"[", trickles=True) as address:
        # without a limit it would read for ever
        assert "alert_held{" not in asyncio.run(asyncio.wait_for(Notified(address).exposition(), 20))


@pytest.mark.parametrize("address", ["http://[", "http://a:99999", "ftp://a", "nonsense"])
def test_an_address_that_is_none_costs_no_metrics(address: str) -> None:
    assert "alert_told" in asyncio.run(Notified(address, ["A"]).exposition())


def counted(log: GatewayLog, name: str = "count") -> float:
    return Samples(log.exposition()).value(f"gateway_request_duration_seconds_{name}", kind="read", status_class="2xx")


def test_what_is_no_line_of_nginx_is_not_counted_nor_keeps_a_good_one_from_it(tmp_path: Path) -> None:
    chance, file = random.Random(SEED), tmp_path / "requests.log"
    log, good = GatewayLog(file), 0
    for seconds in ("nan", "inf", "-1", "1e999", ""):
        good += 1
        with file.open("a") as writer:
            writer.write(f"read|200|{seconds}||\n" + line(200, seconds=0.25))
    for _ in range(500):
        odd = bytearray(line(200).encode())
        odd[chance.randrange(4)] = chance.choice(b"\x00\xff|\r ")
        with file.open("ab") as writer:
            writer.write(bytes(odd) + line(200, seconds=0.25).encode())
        good += 1
    assert counted(log) == good
    assert counted(log, "sum") == pytest.approx(good * 0.25)


def test_a_line_without_an_end_takes_no_more_memory_than_one_may(tmp_path: Path) -> None:
    file = tmp_path / "requests.log"
    log = GatewayLog(file, most_bytes=1 << 30)
    with file.open("ab") as writer:
        writer.write(b"x" * (3 << 20))
        writer.flush()
        assert counted(log) == 0
        assert len(log._rest) <= MOST_LINE_BYTES
        writer.write(b"\n" + line(200).encode())
    assert counted(log) == 1


def test_the_last_lines_of_a_log_that_was_rotated_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "requests.log"
    file.write_text(line(200))
    log = GatewayLog(file)
    with file.open("a") as gateway:
        gateway.write(line(200) * 2)
        gateway.flush()
        file.rename(tmp_path / "requests.log.1")
        # nginx writes on into the file that it has open until it is told otherwise
        assert counted(log) == 2
        gateway.write(line(200) * 3)
    file.write_text(line(200) * 5)
    assert counted(log) == 10
