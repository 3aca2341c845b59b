"""Fuzzed requests to the trace store: each is answered, and none with 500."""

import logging
import random
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from litestar.testing import TestClient

from lab.tracestore import database
from lab.tracestore.app import create_app
from lab.tracestore.command import tracestore
from lab.tracestore.database import ASIDE, open_to_write
from lab.tracestore.metrics import Metrics
from lab.tracestore.store import Bounds, Store
from testbed import otlp_records
from testbed.otlp_records import request_spans

SEED = 19
PROTOBUF = {"Content-Type": "application/x-protobuf"}
TRACE, OTHER = b"\x01" * 16, b"\x02" * 16
LOGS, SEARCH = "/loki/api/v1/query_range", "/api/search"
SELECTOR = '{service_name=~".+"}'
NINES = "9" * 30

Client = TestClient[Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "traces.db"


def client_of(file: Path) -> Client:
    metrics = Metrics()
    store = Store(file, Bounds(64 << 20, 3600), metrics)
    return TestClient(create_app(store, metrics, ["testserver.local"]), raise_server_exceptions=False)


@pytest.fixture
def client(file: Path) -> Iterator[Client]:
    with client_of(file) as made:
        assert put(made, TRACE) == 200
        yield made


def put(client: Client, trace_id: bytes) -> int:
    answer = client.post("/v1/traces", content=otlp_records.traces(request_spans(trace_id)), headers=PROTOBUF)
    return int(answer.status_code)


def ids(client: Client) -> list[str]:
    return [each["traceID"] for each in client.get(SEARCH).json()["traces"]]


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        (SEARCH, {"q": f"{{ duration > {NINES} }}"}),
        (SEARCH, {"q": f"{{ duration > {NINES}h }}"}),
        (SEARCH, {"q": '{ name =~ "a{99999}" }'}),
        (SEARCH, {"q": f'{{ name =~ "{"(" * 1500}" }}'}),
        (SEARCH, {"q": "{" + "||".join([".a=1"] * 680) + "}"}),
        (SEARCH, {"minDuration": f"{NINES}h"}),
        (SEARCH, {"maxDuration": "9" * 400 + "h"}),
        (SEARCH, {"tags": f"a={NINES}"}),
        (LOGS, {"query": SELECTOR, "limit": "9" * 5000}),
        (LOGS, {"query": f'{SELECTOR} |~ "a{{99999}}"'}),
        (LOGS, {"query": f'{SELECTOR} |~ "{"(" * 1500}"'}),
        # its meaning would depend on the machine's time zone
        (LOGS, {"query": SELECTOR, "start": "2026-01-02T03:04:05"}),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_query_over_the_limits_is_rejected_with_a_reason(
    client: Client, path: str, parameters: dict[str, str]
) -> None:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert "Traceback" not in answer.text


def test_a_time_beyond_the_representable_range_ends_the_search(client: Client) -> None:
    assert [each["traceID"] for each in client.get(SEARCH, params={"end": "9999999999"}).json()["traces"]]
    assert client.get(SEARCH, params={"start": "9999999999"}).json()["traces"] == []


FIELDS = ("name", "duration", "status", "kind", ".a", "span.http.route", "resource.service.name", "trace_id", "x", "é")
OPERATORS = ("=", "!=", "=~", "!~", ">=", "<", "|=")
VALUES = (
    *('"x"', '"(a"', '"[z-a]"', '"a{99999999}"', "`b`", '"\\', "nil", "true", "error", "1", "-5", NINES, "1.5", "10ms"),
    *("9h9h", '"\x00"', '"\u2028"', "\u0663", '"\\\\"', '"{{.a}}"', "NaN", "1e999"),
)
BETWEEN = (
    "&&",
    "||",
    " and ",
    " or ",
    ",",
    "|",
    "} | select(name, ",
    "} |= ",
    ") ",
    "(",
    " | line_format ",
    "\x00",
    "",
)


def query(chance: random.Random) -> str:
    """A mostly well-formed query."""
    begin, end = chance.choice((("{", "}"), ("{", "}"), (f"{SELECTOR} | ", ""), ("{", ""), ("", ")")))
    text = begin
    for number in range(chance.choice((1, 1, 1, 2, 3))):
        text += chance.choice(BETWEEN) if number else ""
        text += chance.choice(FIELDS) + " " + chance.choice(OPERATORS) + " " + chance.choice(VALUES)
    return text + end


def test_fuzzed_queries_are_answered_or_rejected(client: Client) -> None:
    chance, statuses = random.Random(SEED), []
    for _ in range(1500):
        text = query(chance)
        path, name = chance.choice(((SEARCH, "q"), (LOGS, "query"), (SEARCH, "tags"), (SEARCH, "minDuration")))
        answer = client.get(path, params={name: text})
        assert answer.status_code in (200, 400), (path, name, text)
        statuses.append(answer.status_code)
    assert statuses.count(200) > 40
    assert statuses.count(400) > 500


def test_fuzzed_posts_are_accepted_or_rejected_without_side_effects(client: Client) -> None:
    chance = random.Random(SEED)
    whole = otlp_records.traces(request_spans(OTHER))
    for _ in range(800):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(body))
            body[at : at + chance.choice((0, 1, 9))] = chance.randbytes(chance.randrange(4))
        path, coding = chance.choice(("/v1/traces", "/v1/logs")), chance.choice(({}, {"Content-Encoding": "gzip"}))
        answer = client.post(path, content=bytes(body), headers=PROTOBUF | coding)
        assert answer.status_code in (200, 400), body
    assert TRACE.hex() in {each["traceID"] for each in client.get(SEARCH, params={"limit": "1000"}).json()["traces"]}
    for path in ("/api/v2/search/tags", "/api/v2/search/tag/.http.route/values", "/metrics"):
        assert client.get(path).status_code == 200


def test_a_corrupt_database_file_is_set_aside_at_the_first_write_that_finds_it(file: Path) -> None:
    with client_of(file) as client:
        assert put(client, TRACE) == 200
    content = file.read_bytes()
    # the file header is kept, so that it opens as a store
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with client_of(file) as client:
        statuses = [put(client, OTHER), put(client, OTHER)]
        assert set(statuses) <= {200, 503}
        assert statuses[-1] == 200
        assert ids(client) == [OTHER.hex()]
    assert file.with_name(file.name + ASIDE).stat().st_size == len(content)


def test_a_file_of_another_version_is_kept_beside_the_new_one(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    connection = sqlite3.connect(file)
    connection.executescript("CREATE TABLE later (x); INSERT INTO later VALUES (7); PRAGMA user_version = 99")
    connection.close()
    with caplog.at_level(logging.WARNING, "tracestore"):
        open_to_write(file).close()
    assert "version 99" in caplog.text
    with sqlite3.connect(file.with_name(file.name + ASIDE)) as kept:
        assert kept.execute("SELECT x FROM later").fetchall() == [(7,)]


def test_stored_data_survives_a_start_on_a_full_disk(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with client_of(file) as client:
        assert put(client, TRACE) == 200
    content = file.read_bytes()

    def full(_: Path) -> sqlite3.Connection:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(database, "_open", full)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        open_to_write(file)
    assert file.read_bytes() == content


def test_reading_a_corrupt_database_file_is_503_with_the_reason(file: Path) -> None:
    with client_of(file) as client:
        for name in ("", "-wal", "-shm"):
            file.with_name(file.name + name).unlink(missing_ok=True)
        file.write_bytes(b"no database " * 1000)
        for path in (SEARCH, "/api/v2/search/tags", f"{LOGS}?query={SELECTOR}", "/api/traces/1"):
            answer = client.get(path)
            assert (answer.status_code, "cannot be read" in answer.text) == (503, True), path


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("name", ["TRACESTORE_MAX_MEGABYTES", "TRACESTORE_MAX_HOURS"])
def test_a_bound_that_is_not_a_number_is_rejected(name: str, value: str) -> None:
    done = CliRunner().invoke(tracestore, [], env={name: value})
    assert done.exit_code == 2
    assert re.search(r"'--max-(megabytes|hours)'", done.output)
