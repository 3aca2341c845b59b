"""Compliance with RFC 9110: methods, content codings, entity tags, lists, unusual headers and paths."""

import gzip
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brotli
import httpx
import pytest

from testbed import OtlpReceiver, Replica, wait_for

DECODERS = {"gzip": gzip.decompress, "br": brotli.decompress, "": bytes}
LONG = "\U0001f331" * 400
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as made:
        yield made


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory, receiver: OtlpReceiver) -> Iterator[Replica]:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "TRACE_SAMPLE_RATIO": "1"}
    with Replica(tmp_path_factory.mktemp("replica"), **settings) as made:
        yield made


@pytest.fixture(scope="module")
def client(replica: Replica) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=replica.url, timeout=60) as made:
        # headers that httpx sends by default
        made.headers.clear()
        yield made


@pytest.fixture(scope="module")
def long_path(client: httpx.Client) -> str:
    """The path of a task that is long enough to be compressed."""
    return str(client.post("/tasks", json={"task": LONG}).headers["location"])


@pytest.fixture
def short_path(client: httpx.Client) -> str:
    """The path of a new task, too short to be compressed."""
    return str(client.post("/tasks", json={"task": "x"}).headers["location"])


def raw(replica: Replica, sent: bytes, *, is_open: bool = False) -> bytes:
    """The bytes of all responses on a new connection; with `is_open`, its sending side stays open."""
    with socket.create_connection(("127.0.0.1", replica.port), timeout=10) as made:
        made.sendall(sent)
        if not is_open:
            made.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: made.recv(65536), b""))


def encoded(client: httpx.Client, path: str, accepted: str | None, **headers: str) -> tuple[httpx.Response, bytes]:
    """The response, and its body without decoding."""
    more = headers if accepted is None else headers | {"Accept-Encoding": accepted}
    with client.stream("GET", path, headers=more) as answer:
        return answer, b"".join(answer.iter_raw())


@pytest.mark.case("methods")
def test_head_is_answered_as_get_without_a_body(client: httpx.Client, long_path: str) -> None:
    paths = ("/tasks", "/tasks?limit=1", long_path, "/health", "/health/live", "/health/ready", "/schema")
    paths += ("/schema/openapi.json", "/schema/files/swagger-ui.css", "/tasks/nothing", "/nothing", "/tasks?limit=x")
    for path in paths:
        for coding in ("identity", "gzip"):
            # the measurements in the response of /health may differ
            read, asked = (
                client.request(method, path, headers={"Accept-Encoding": coding}) for method in ("GET", "HEAD")
            )
            assert asked.status_code == read.status_code, path
            assert asked.content == b""
            varying = {"date", "ratelimit", "server-timing"} | (
                {"content-length"} if "health" in path or read.is_error else set()
            )
            left, right = ({k: v for k, v in each.headers.items() if k not in varying} for each in (read, asked))
            assert left == right, path
    assert client.head(long_path, headers={"If-None-Match": '"1"'}).status_code == 304


def test_head_is_counted_under_its_route(client: httpx.Client, replica: Replica) -> None:
    labels = {"http_request_method": "HEAD", "http_route": "/tasks", "http_response_status_code": "200"}

    def count() -> float:
        return replica.metrics().value("http_server_request_duration_seconds_count", **labels)

    before = count()
    client.head("/tasks")
    assert count() == before + 1


def test_allow_names_head_wherever_it_names_get(client: httpx.Client, short_path: str) -> None:
    for path in ("/tasks", short_path, "/health", "/health/live", "/health/ready", "/schema", "/schema/openapi.json"):
        for answer in (client.put(path), client.options(path)):
            assert answer.status_code in (204, 405)
            allowed = {each.strip() for each in answer.headers["allow"].split(",")}
            assert {"GET", "HEAD", "OPTIONS"} <= allowed, (path, answer)


@pytest.mark.case("content codings")
@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (None, ""),
        ("", ""),
        ("br;q=0, gzip", "gzip"),
        ("gzip;q=0", ""),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip;q=0.5, br;q=0.1", "gzip"),
        ("gzip, br", "br"),
        ("gzip;q=0.5, br;q=0.5", "br"),
        ("gzip;q=0.5, identity;q=0.9", ""),
        ("gzip; q=1.000 , br ; Q=0", "gzip"),
        ("zebra", ""),
        ("brotli, gzipped", ""),
        ("*", "br"),
        ("br;q=0, *", "gzip"),
        ("*;q=0", ""),
        ("gzip;q=0, *;q=0.5", "br"),
        ("gzip;q=nan", ""),
        ("gzip;q=1e999, br;q=-1", ""),
        ("gzip;q=inf", ""),
        ("gzip;q=0.1234", ""),
        ("gzip;q=", ""),
        (",,gzip,", "gzip"),
    ],
)
def test_the_content_coding_is_the_one_that_the_client_prefers(
    client: httpx.Client, long_path: str, accepted: str | None, coding: str
) -> None:
    _, text = encoded(client, long_path, "identity")
    answer, body = encoded(client, long_path, accepted)
    assert answer.status_code == 200
    assert answer.headers.get("content-encoding", "") == coding
    assert DECODERS[coding](body) == text
    assert int(answer.headers["content-length"]) == len(body)
    assert answer.headers["vary"].lower() == "accept-encoding"
    assert answer.headers["etag"] == (f'"1-{coding}"' if coding else '"1"')


def test_short_responses_are_encoded_too_if_identity_is_not_acceptable(client: httpx.Client, short_path: str) -> None:
    answer, body = encoded(client, short_path, "gzip, identity;q=0")
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == client.get(short_path).content


def test_every_response_has_vary_and_cache_control(client: httpx.Client, short_path: str) -> None:
    kept = {
        short_path: "no-cache",
        "/tasks": "no-cache",
        "/schema": "no-cache",
        "/schema/files/swagger-ui.css": "no-cache",
        "/health": "no-store",
        "/health/ready": "no-store",
        "/tasks/nothing": "no-store",
        "/nothing": "no-store",
    }
    for path, control in kept.items():
        answer = client.get(path)
        assert answer.headers["vary"].lower() == "accept-encoding", path
        assert answer.headers["cache-control"] == control, path
    answer = client.get(short_path, headers={"If-None-Match": '"1"'})
    assert (answer.status_code, answer.headers["vary"].lower(), answer.headers["cache-control"]) == (
        304,
        "accept-encoding",
        "no-cache",
    )


def test_if_none_match_matches_only_in_the_content_coding_of_the_response(client: httpx.Client, long_path: str) -> None:
    for coding, tag in (("identity", '"1"'), ("gzip", '"1-gzip"'), ("br", '"1-br"')):
        for condition in (tag, f"W/{tag}", f'"7", {tag}', "*"):
            answer, body = encoded(client, long_path, coding, **{"If-None-Match": condition})
            assert (answer.status_code, body, answer.headers["etag"]) == (304, b"", tag)
            assert "content-encoding" not in answer.headers
        for condition in {'"1"', '"1-gzip"', '"1-br"', '"1-zebra"', "1"} - {tag}:
            answer, _ = encoded(client, long_path, coding, **{"If-None-Match": condition})
            assert (answer.status_code, answer.headers["etag"]) == (200, tag)


@pytest.mark.parametrize("coding", ["identity", "gzip", "br"])
def test_if_match_accepts_the_etag_of_any_content_coding(client: httpx.Client, coding: str) -> None:
    path = client.post("/tasks", json={"task": LONG}).headers["location"]
    answer, _ = encoded(client, path, coding)
    tag = answer.headers["etag"]
    changed = client.patch(path, json={"done": True}, headers={"If-Match": tag, "Accept-Encoding": coding})
    assert (changed.status_code, changed.headers["etag"]) == (200, tag.replace("1", "2", 1))
    assert client.patch(path, json={"done": False}, headers={"If-Match": tag}).status_code == 412
    assert client.delete(path, headers={"If-Match": f"W/{changed.headers['etag']}"}).status_code == 412
    assert client.delete(path, headers={"If-Match": changed.headers["etag"]}).status_code == 204


@pytest.mark.parametrize(
    ("headers", "read", "written"),
    [
        ({"If-Match": '"1"'}, 200, 200),
        ({"If-Match": "*"}, 200, 200),
        ({"If-Match": '"2"'}, 412, 412),
        ({"If-Match": 'W/"1"'}, 412, 412),
        ({"If-Match": "nonsense"}, 412, 412),
        ({"If-None-Match": '"1"'}, 304, 412),
        ({"If-None-Match": 'W/"1"'}, 304, 412),
        ({"If-None-Match": "*"}, 304, 412),
        ({"If-None-Match": '"2", "3"'}, 200, 200),
        ({"If-Match": '"1"', "If-None-Match": '"2"'}, 200, 200),
        ({"If-Match": '"2"', "If-None-Match": '"3"'}, 412, 412),
    ],
)
def test_a_condition_holds_for_reads_and_writes(
    client: httpx.Client, short_path: str, headers: dict[str, str], read: int, written: int
) -> None:
    assert client.get(short_path, headers=headers).status_code == read
    assert client.head(short_path, headers=headers).status_code == read
    changed = client.patch(short_path, json={"done": True}, headers=headers)
    assert changed.status_code == written
    if changed.status_code == 412:
        assert client.get(short_path).json()["done"] is False
        assert client.delete(short_path, headers=headers).status_code == 412


def test_a_list_on_several_lines_counts_as_one(client: httpx.Client, long_path: str, short_path: str) -> None:
    def answer(method: str, path: str, name: str, *lines: str, **more: Any) -> httpx.Response:
        return client.request(method, path, headers=[*((name, line) for line in lines), *JSON.items()], **more)

    assert answer("GET", "/tasks", "Accept", "text/html", "application/json").status_code == 200
    assert answer("GET", "/tasks", "Accept", "text/html", "image/*").status_code == 406
    assert answer("GET", short_path, "If-None-Match", '"7"', '"1"', '"9"').status_code == 304
    assert answer("GET", long_path, "Accept-Encoding", "br;q=0", "gzip").headers["content-encoding"] == "gzip"
    change = {"content": b'{"done": true}'}
    assert answer("PATCH", short_path, "If-Match", '"7"', '"8"', **change).status_code == 412
    assert answer("PATCH", short_path, "If-Match", '"7"', '"1"', '"9"', **change).status_code == 200


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json;q=0", 406),
        ("application/json;q=0, */*", 406),
        ("application/json;q=0.0, application/*;q=1", 406),
        ("*/*;q=0", 406),
        ("application/json;q=nan", 406),
        ("application/json;q=1e400, text/html", 406),
        ("application/json;q=inf", 406),
        ("APPLICATION/JSON", 200),
        ('text/html;x="a,application/json;q=0", */*;q=0.001', 200),
        ("*/*;q=0, application/json", 200),
        (",", 406),
    ],
)
@pytest.mark.case("odd header values")
def test_accept_is_parsed_with_its_quality_values(client: httpx.Client, accept: str, status: int) -> None:
    assert client.get("/tasks", headers={"Accept": accept}).status_code == status


@pytest.mark.parametrize(
    "query",
    [
        *("limit=1&limit=1", "limit=1&li%6dit=2", "done=true&done=false", "limit=1e1", "limit=+5", "limit=%205"),
        *("limit=5.0", "limit=05", "limit=%D9%A3", "limit=1_0", "done=1", "done=TRUE", "done=null", "done="),
        "cursor=null",
    ],
)
def test_a_repeated_or_malformed_parameter_is_400(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/tasks?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_must_have_content_type_json(client: httpx.Client, short_path: str) -> None:
    for headers in ({}, {"Content-Type": ""}, {"Content-Type": "text/plain"}, {"Content-Type": "application/jsonp"}):
        assert client.post("/tasks", content=b'{"task": "x"}', headers=headers).status_code == 415, headers
        assert client.patch(short_path, content=b'{"done": true}', headers=headers).status_code == 415, headers
    answer = client.post("/tasks", content=gzip.compress(b'{"task": "x"}'), headers=JSON | {"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")


@pytest.mark.case("bytes in JSON")
@pytest.mark.parametrize(
    "bad", [b"a\xff\xfeb", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\\ud800", b"\\x", b"\x00"]
)
def test_invalid_utf_8_is_400(client: httpx.Client, short_path: str, bad: bytes) -> None:
    answer = client.post("/tasks", content=b'{"task":"%b"}' % bad, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert client.patch(short_path, content=b'{"task":"%b"}' % bad, headers=JSON).status_code == 400
    assert client.post("/tasks", content=b'{"task":"x","%b":1}' % bad, headers=JSON).status_code == 400


@pytest.mark.parametrize(
    "host", [b"x:port", b"x:99999", b"[::1", b"a b", b"x:8000:1", b"u@x", b"x/y", b"\xff", b"[::g]"]
)
@pytest.mark.case("odd header values")
def test_an_invalid_host_header_is_400(replica: Replica, host: bytes) -> None:
    for path in (b"/tasks", b"/health", b"/schema", b"/nothing"):
        answer = raw(replica, b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (path, host))
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert b"application/problem+json" in answer
        assert b"x-content-type-options: nosniff" in answer


def test_a_request_with_two_host_headers_is_rejected(replica: Replica) -> None:
    ask = b"GET /health/live HTTP/1.1\r\n%bConnection: close\r\n\r\n"
    assert raw(replica, ask % b"").startswith(b"HTTP/1.1 400 ")
    assert raw(replica, ask % b"Host: a\r\nHost: a\r\n").startswith(b"HTTP/1.1 400 ")
    for host in (b"Host:\r\n", b"Host: [::1]:80\r\n", b"Host: a.example:\r\n"):
        assert raw(replica, ask % host).startswith(b"HTTP/1.1 200 "), host
    assert raw(replica, b"GET /health/live HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.case("path spellings, inside")
def test_another_spelling_of_a_path_changes_neither_its_exemption_nor_its_label(tmp_path: Path) -> None:
    with Replica(tmp_path, RATE_LIMIT="3/hour") as limited, httpx.Client(base_url=limited.url) as client:
        spellings = ("/health/ready", "/health/ready/", "//health/ready", "/health//ready/", "/health%2fready")
        for path in spellings * 3:
            answer = client.get(httpx.URL(limited.url, raw_path=path.encode()))
            assert answer.status_code == 200
            assert "ratelimit" not in answer.headers
        for path in ("/tasks", "/tasks/", "//tasks", "/tasks/", "/tasks//"):
            last = client.get(httpx.URL(limited.url, raw_path=path.encode()))
        assert last.status_code == 429
        seen = limited.metrics()
    name = "http_server_request_duration_seconds_count"
    assert seen.value(name, http_route="/tasks", http_request_method="GET") == 5
    assert seen.value(name, http_route="unmatched") == 0


def test_a_websocket_request_is_rejected_like_an_unknown_path(replica: Replica) -> None:
    before = replica.output()
    for path in (b"/", b"/ws", b"/tasks", b"/health/live"):
        answer = raw(
            replica,
            b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % path,
        )
        assert answer.startswith(b"HTTP/1.1 404 "), answer
        assert b"application/problem+json" in answer
        assert answer.count(b"HTTP/1.1") == 1
    assert replica.output() == before


def test_unreadable_requests_do_not_fill_the_log(replica: Replica) -> None:
    before = replica.output()
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
    ):
        assert raw(replica, sent).startswith(b"HTTP/1.1 400 ")
    assert replica.output() == before


def test_pipelined_requests_have_separate_traces(replica: Replica, receiver: OtlpReceiver, short_path: str) -> None:
    traces = [uuid.uuid4().hex for _ in range(4)]
    # not cached, so that each has a span of the database
    path = f"/tasks?cursor={short_path[-36:].replace('-', '')}"
    sent = b"".join(
        f"GET {path} HTTP/1.1\r\nHost: x\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n".encode()
        + (b"Connection: close\r\n\r\n" if trace == traces[-1] else b"\r\n")
        for trace in traces
    )
    assert raw(replica, sent, is_open=True).count(b"HTTP/1.1 200 ") == 4
    wait_for(lambda: all(receiver.trace(trace) for trace in traces), what="a span of each")
    names = [sorted(span.name for span in receiver.trace(trace)) for trace in traces]
    assert names == [names[0]] * 4
    assert len(names[0]) > 1


@pytest.mark.parametrize(
    "name",
    [
        *("%00", "%ff", "%5c", ".", "", "%2e%2e", "..%2f..%2fpyproject.toml", "x" * 300, "x" * 5000),
        *("swagger-ui.css%00", "swagger-ui.css/x", "start.js%20", "LICENSE", "swagger-ui.js"),
    ],
)
def test_a_static_path_with_an_odd_name_is_404(replica: Replica, name: str) -> None:
    answer = httpx.get(httpx.URL(replica.url, raw_path=f"/schema/files/{name}".encode()))
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_files_of_the_docs_page_have_an_etag_per_content_coding(client: httpx.Client) -> None:
    for path in ("/schema", "/schema/openapi.json", "/schema/files/swagger-ui-bundle.js"):
        plain, text = encoded(client, path, "identity")
        tags = {plain.headers["etag"]}
        for coding in ("gzip", "br") if len(text) >= 1024 else ():
            answer, body = encoded(client, path, coding)
            assert answer.headers["content-encoding"] == coding
            assert DECODERS[coding](body) == text
            tags.add(answer.headers["etag"])
            again, nothing = encoded(client, path, coding, **{"If-None-Match": answer.headers["etag"]})
            assert (again.status_code, nothing) == (304, b"")
            assert encoded(client, path, "identity", **{"If-None-Match": answer.headers["etag"]})[0].status_code == 200
        assert len(tags) == (3 if len(text) >= 1024 else 1)


def test_the_docs_page_has_a_content_security_policy_and_can_be_disabled(client: httpx.Client, tmp_path: Path) -> None:
    policy = client.get("/schema").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "<script>" not in client.get("/schema").text
    with Replica(tmp_path, API_DOCS="off") as bare:
        for path in ("/schema", "/schema/openapi.json", "/schema/files/swagger-ui.css"):
            assert httpx.get(bare.url + path).status_code == 404
        assert httpx.get(f"{bare.url}/tasks").status_code == 200


def test_the_openapi_document_has_response_headers_and_the_format_of_ids(client: httpx.Client) -> None:
    paths = client.get("/schema/openapi.json").json()["paths"]
    for path, operations in paths.items():
        if not path.startswith("/tasks"):
            continue
        for method, operation in operations.items():
            answers = operation["responses"]
            assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= set(answers["429"]["headers"])
            assert "Retry-After" in answers["503"]["headers"]
            assert "RateLimit" in next(iter(answers.values()))["headers"]
            if path == "/tasks/{task_id}":
                (task_id,) = [each for each in operation["parameters"] if each["name"] == "task_id"]
                assert task_id["schema"]["format"] == "uuid", method
    assert {"Location", "ETag"} <= set(paths["/tasks"]["post"]["responses"]["201"]["headers"])
    for method, status in (("get", "200"), ("get", "304"), ("patch", "200")):
        assert "ETag" in paths["/tasks/{task_id}"][method]["responses"][status]["headers"]
