"""Fuzzed requests, gateway logs and inbox files of `desk`: none of them loses the counts."""

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
from lab.desk.gateway_log import MAX_LINE_BYTES, GatewayLog
from lab.desk.inbox import Inbox
from lab.desk.notified import Notified
from lab.desk.page import SILENT_SECONDS
from lab.desk.runbooks import Runbooks
from testbed.replica import Samples
from tests.lab.desk.received import JSON, line, notification

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
def test_the_page_shows_any_time_in_any_time_zone(
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


def test_a_missing_heartbeat_is_detected_even_if_the_clock_is_changed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.post("/heartbeat", json=notification()).status_code == 204
    assert 'class="quiet">Last heartbeat' in desk.get("/").text
    monkeypatch.setattr("time.time", lambda: 0.0)
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + SILENT_SECONDS + 1)
    assert 'class="late">Last heartbeat' in desk.get("/").text


def test_a_time_without_a_utc_offset_is_rejected_and_not_stored(desk: Desk) -> None:
    message = notification()
    message["alerts"][0]["startsAt"] = "2026-01-02T03:04:05"
    for _ in range(2):
        assert desk.post("/alerts", json=message).status_code == 400
    assert desk.get("/inbox.json").json()["received"] == 0


def test_a_verdict_on_an_impossible_id_is_400(desk: Desk) -> None:
    for number in ("0", "-1", "9223372036854775808", "9" * 40, "9" * 5000):
        assert desk.post(f"/notifications/{number}/useful").status_code == 400, number


def test_fuzzed_posts_are_accepted_or_rejected_and_every_page_still_answers(desk: Desk) -> None:
    chance, message = random.Random(SEED), json.dumps(notification()).encode()
    fault = b'{"part":"redis-1","kind":"pause","begin":1.5,"end":null,"drill":""}'
    odd = (b"", b"\xff", b"\\ud800", b"\x00", b"1e999", b"1e308", b"null", b"[]", b"{", b'"', b"-", b"9" * 400)
    bodies = [b"[" * 100_000, b'{"a":' * 100_000]
    for _ in range(700):
        body = bytearray(chance.choice((message, fault)))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(body))
            body[at : at + chance.choice((0, 1, 8))] = chance.choice(odd)
        bodies.append(bytes(body))
    for body in bodies:
        method, path = chance.choice((("POST", "/alerts"), ("POST", "/heartbeat"), ("PUT", "/faults")))
        assert desk.request(method, path, content=body, headers=JSON).status_code in (204, 400), body[:200]
    assert statuses(desk) == [200] * len(PATHS)


def test_rows_of_another_version_are_skipped(new_desk: Callable[[Inbox], Desk], tmp_path: Path) -> None:
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


def test_an_inbox_with_a_corrupt_database_is_503_and_counting_continues(
    new_desk: Callable[[Inbox], Desk], tmp_path: Path
) -> None:
    file = tmp_path / "inbox.sqlite"
    first = Inbox(file=file)
    desk = new_desk(first)
    for _ in range(40):
        desk.post("/alerts", json=notification())
    first._database.close()
    content = file.read_bytes()
    # the file header and the table's definition are kept
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    try:
        desk = new_desk(Inbox(file=file))
    except sqlite3.Error:
        # reported at startup
        return
    assert {desk.get("/").status_code, desk.post("/alerts", json=notification()).status_code} == {503}
    assert desk.get("/metrics").status_code == 200


def test_a_foreign_table_of_the_same_name_is_reported_at_startup(tmp_path: Path) -> None:
    file = tmp_path / "inbox.sqlite"
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE notification (x)")
    with pytest.raises(sqlite3.Error, match="no such column"):
        Inbox(file=file)


@contextmanager
def alertmanager(body: bytes, trickles: bool = False) -> Iterator[str]:
    """Responds to one request with a body, at once or endlessly byte by byte; yields the address."""
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
def test_fuzzed_alertmanager_responses_never_break_the_metrics(body: bytes) -> None:
    with alertmanager(body) as address:
        notified = Notified(address, ["A"])
        assert 'alert_notifications_total{alertname="A"} 0.0' in asyncio.run(notified.exposition())


def test_a_trickling_alertmanager_does_not_delay_a_scrape() -> None:
    with alertmanager(b"[", trickles=True) as address:
        # without a limit it would read forever
        assert "alert_held{" not in asyncio.run(asyncio.wait_for(Notified(address).exposition(), 20))


@pytest.mark.parametrize("address", ["http://[", "http://a:99999", "ftp://a", "nonsense"])
def test_an_invalid_alertmanager_address_does_not_affect_the_metrics(address: str) -> None:
    assert "alert_notifications" in asyncio.run(Notified(address, ["A"]).exposition())


def counted(log: GatewayLog, name: str = "count") -> float:
    return Samples(log.exposition()).value(f"gateway_request_duration_seconds_{name}", kind="read", status_class="2xx")


def test_an_invalid_log_line_is_not_counted_and_does_not_affect_valid_ones(tmp_path: Path) -> None:
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


def test_an_endless_line_uses_bounded_memory(tmp_path: Path) -> None:
    file = tmp_path / "requests.log"
    log = GatewayLog(file, max_bytes=1 << 30)
    with file.open("ab") as writer:
        writer.write(b"x" * (3 << 20))
        writer.flush()
        assert counted(log) == 0
        assert len(log._rest) <= MAX_LINE_BYTES
        writer.write(b"\n" + line(200).encode())
    assert counted(log) == 1


def test_the_last_lines_of_a_rotated_log_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "requests.log"
    file.write_text(line(200))
    log = GatewayLog(file)
    with file.open("a") as gateway:
        gateway.write(line(200) * 2)
        gateway.flush()
        file.rename(tmp_path / "requests.log.1")
        # nginx keeps writing to its open file until it gets SIGUSR1
        assert counted(log) == 2
        gateway.write(line(200) * 3)
    file.write_text(line(200) * 5)
    assert counted(log) == 10
