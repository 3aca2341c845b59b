"""The API's contract, which is the same with every database and cache."""

import concurrent.futures
import gzip
import re
import uuid
from typing import Any

import brotli  # type: ignore[import-untyped]
import httpx
import pytest

from testbed import Replica
from tests.service.conftest import FORMS

# in this module also with a pooler that gives each transaction another connection
pytestmark = pytest.mark.parametrize("service", [*FORMS, "pooled"], indirect=True, scope="module")
JSON = {"Content-Type": "application/json"}
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


def created(client: httpx.Client, text: str = "Water the plants", **more: Any) -> dict[str, Any]:
    """A new task."""
    answer = client.post("/tasks", json={"task": text, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Checks a response against RFC 9457, and returns the problem details."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert re.fullmatch("[0-9a-f]{32}", problem["trace_id"])
    return dict(problem)


def test_a_created_task_is_found_at_its_location(client: httpx.Client) -> None:
    answer = client.post("/tasks", json={"task": "Wässere die Pflanzen 🌱"})
    assert answer.status_code == 201
    task = answer.json()
    assert (task["task"], task["done"], task["version"]) == ("Wässere die Pflanzen 🌱", False, 1)
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["location"] == f"/tasks/{task['id']}"
    found = client.get(answer.headers["location"])
    assert (found.status_code, found.json(), found.headers["etag"]) == (200, task, '"1"')
    assert found.headers["content-type"] == "application/json"


def test_ids_are_version_7_and_sort_by_time(client: httpx.Client) -> None:
    ids = [uuid.UUID(created(client)["id"]) for _ in range(20)]
    assert {each.version for each in ids} == {7}
    assert ids == sorted(ids)


def test_a_change_increments_the_version_and_keeps_omitted_fields(client: httpx.Client) -> None:
    task = created(client)
    answer = client.patch(f"/tasks/{task['id']}", json={"done": True})
    assert answer.status_code == 200
    changed = answer.json()
    assert (changed["task"], changed["done"], changed["version"]) == (task["task"], True, 2)
    assert changed["created_at"] == task["created_at"]
    assert changed["updated_at"] > task["updated_at"]
    assert answer.headers["etag"] == '"2"'
    assert client.get(f"/tasks/{task['id']}").json() == changed


def test_a_deleted_task_is_gone(client: httpx.Client) -> None:
    path = f"/tasks/{created(client)['id']}"
    assert client.get(path).status_code == 200
    answer = client.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert_problem(client.get(path), 404)
    assert_problem(client.delete(path), 404)
    assert_problem(client.patch(path, json={"done": True}), 404)


def test_a_lost_update_is_rejected(client: httpx.Client) -> None:
    path = f"/tasks/{created(client)['id']}"
    assert client.patch(path, json={"task": "first"}, headers={"If-Match": '"1"'}).status_code == 200
    assert_problem(client.patch(path, json={"task": "second"}, headers={"If-Match": '"1"'}), 412)
    assert_problem(client.delete(path, headers={"If-Match": '"1"'}), 412)
    assert client.get(path).json()["task"] == "first"
    assert client.patch(path, json={"task": "third"}, headers={"If-Match": '"7", "2"'}).status_code == 200
    assert client.patch(path, json={"task": "fourth"}, headers={"If-Match": "*"}).status_code == 200
    assert client.delete(path, headers={"If-Match": '"4"'}).status_code == 204


@pytest.mark.parametrize("condition", ['"x"', '"0"', 'W/"1"', '"99999999999999999999"', "1-", '"1', ","])
def test_a_precondition_without_a_valid_etag_fails(client: httpx.Client, condition: str) -> None:
    path = f"/tasks/{created(client)['id']}"
    assert_problem(client.patch(path, json={"done": True}, headers={"If-Match": condition}), 412)
    # nor with a change that has no effect
    assert_problem(client.patch(path, json={"done": False}, headers={"If-Match": condition}), 412)


def test_a_current_etag_gets_304(client: httpx.Client) -> None:
    path = f"/tasks/{created(client)['id']}"
    for current in ('"1"', 'W/"1"', '"0", "1"', "*"):
        answer = client.get(path, headers={"If-None-Match": current})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"1"'), current
    assert client.get(path, headers={"If-None-Match": '"2"'}).status_code == 200
    client.patch(path, json={"done": True})
    assert client.get(path, headers={"If-None-Match": '"1"'}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"null", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"task": null}', 422),
        (b'{"task": 1}', 422),
        (b'{"task": ""}', 422),
        (b'{"task": "a\\u0000b"}', 422),
        (b'{"task": "%s"}' % (b"x" * 501), 422),
        (b'{"task": "x", "done": "yes"}', 422),
        (b'{"task": "x", "other": 1}', 422),
        (b'{"task": "%s"}' % (b"x" * 65536), 413),
    ],
)
def test_a_body_over_the_size_limit_is_rejected(client: httpx.Client, body: bytes, status: int) -> None:
    assert_problem(client.post("/tasks", content=body, headers=JSON), status)
    path = f"/tasks/{created(client)['id']}"
    assert_problem(client.patch(path, content=body, headers=JSON), status)


def test_a_problem_names_the_field(client: httpx.Client) -> None:
    problem = assert_problem(client.post("/tasks", json={"task": ""}), 422)
    assert any(error.get("key") == "task" for error in problem["errors"]), problem


def test_texts_of_1_and_500_characters_are_accepted(client: httpx.Client) -> None:
    for text in ("x", "ä" * 500, "\U0001f331" * 500):
        assert created(client, text)["task"] == text


def test_a_body_over_64_kib_without_content_length_is_rejected(client: httpx.Client) -> None:
    def parts() -> Any:
        for _ in range(20):
            yield b"x" * 8192

    assert_problem(client.post("/tasks", content=parts(), headers=JSON), 413)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/tasks/{UNKNOWN_ID}", 404),
        ("/tasks/not-an-id", 404),
        ("/tasks/%00", 404),
        ("/tasks/" + "x" * 4000, 404),
        ("/tasks/a/b", 404),
        ("/", 404),
        ("/nothing/here", 404),
        ("/tasks?limit=0", 400),
        ("/tasks?limit=101", 400),
        ("/tasks?limit=x", 400),
        ("/tasks?limit=", 400),
        ("/tasks?done=perhaps", 400),
        ("/tasks?cursor=x", 400),
        ("/tasks?cursor=", 400),
        ("/tasks?cursor=%FF", 400),
    ],
)
def test_an_unknown_task_or_path_is_answered_with_problem_details(client: httpx.Client, path: str, status: int) -> None:
    assert_problem(client.get(path), status)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/tasks", {"GET", "POST"}),
        ("DELETE", "/tasks", {"GET", "POST"}),
        ("POST", f"/tasks/{UNKNOWN_ID}", {"GET", "PATCH", "DELETE"}),
        ("PUT", f"/tasks/{UNKNOWN_ID}", {"GET", "PATCH", "DELETE"}),
        ("POST", "/health", {"GET"}),
        ("TRACE", "/tasks", {"GET", "POST"}),
    ],
)
def test_an_unsupported_method_is_405_with_the_supported_ones(
    client: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    answer = client.request(method, path)
    assert_problem(answer, 405)
    assert allowed <= {each.strip() for each in answer.headers["allow"].split(",")}


def test_a_client_that_does_not_accept_json_gets_406(client: httpx.Client) -> None:
    path = f"/tasks/{created(client)['id']}"
    for accept in ("text/html", "image/*", "application/xml;q=0.9"):
        assert_problem(client.get(path, headers={"Accept": accept}), 406)
        assert_problem(client.get("/tasks", headers={"Accept": accept}), 406)
    for accept in ("*/*", "application/*", "text/html, application/json;q=0.1", ""):
        assert client.get(path, headers={"Accept": accept}).status_code == 200, accept


def test_a_body_without_content_type_json_gets_415(client: httpx.Client) -> None:
    path = f"/tasks/{created(client)['id']}"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"):
        headers = {"Content-Type": kind}
        assert_problem(client.post("/tasks", content=b'{"task": "x"}', headers=headers), 415)
        assert_problem(client.patch(path, content=b'{"done": true}', headers=headers), 415)
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert client.post("/tasks", content=b'{"task": "x"}', headers=headers).status_code == 201


def test_problem_details_have_a_trace_id(client: httpx.Client) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    # without an OTLP endpoint no span is created, but there is an id all the same
    assert assert_problem(client.get("/tasks/nothing", headers=headers), 404)["trace_id"]


@pytest.mark.parametrize("path", ["/tasks", "/tasks/nothing", "/health", "/nothing"])
def test_every_response_has_security_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert {name: headers.get(name) for name in SECURITY} == SECURITY
    assert "server" not in headers


def test_long_responses_are_compressed_with_a_supported_coding(client: httpx.Client) -> None:
    for number in range(20):
        created(client, f"{number}: " + "water the plants " * 10)
    plain = client.get("/tasks", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    for coding, decode in (("gzip", gzip.decompress), ("br", brotli.decompress)):
        with client.stream("GET", "/tasks", headers={"Accept-Encoding": coding}) as answer:
            raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == coding
        assert "accept-encoding" in answer.headers["vary"].lower()
        assert len(raw) < len(plain.content) / 3
        assert decode(raw) == plain.content
    short = client.get(f"/tasks/{created(client)['id']}", headers={"Accept-Encoding": "gzip, br"})
    assert "content-encoding" not in short.headers


def pages(client: httpx.Client, **parameters: Any) -> list[list[dict[str, Any]]]:
    """All pages, from the first to the last."""
    found = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/tasks", params=parameters | cursor).json()
        found.append(page["items"])
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


def test_pages_list_all_tasks_newest_first(client: httpx.Client) -> None:
    made = [created(client, done=number % 3 == 0)["id"] for number in range(25)]
    read = pages(client, limit=10)
    assert all(len(page) == 10 for page in read[:-1])
    ids = [task["id"] for page in read for task in page]
    assert ids[:25] == made[::-1]
    assert len(ids) == len(set(ids))
    done = [task for page in pages(client, limit=7, done="true") for task in page]
    assert all(task["done"] for task in done)
    assert [task["id"] for task in done][:9] == made[::-3]
    assert client.get("/tasks", params={"limit": 100}).json()["items"][0]["id"] == made[-1]


def test_pages_neither_repeat_nor_skip_while_tasks_are_added(client: httpx.Client) -> None:
    before = {created(client, f"before {number}")["id"] for number in range(60)}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        adding = [pool.submit(created, client, "meanwhile") for _ in range(200)]
        seen = [task["id"] for page in pages(client, limit=5) for task in page]
        for each in adding:
            each.result()
    assert len(seen) == len(set(seen)), "a task came twice"
    assert before <= set(seen), "a task was skipped"


def test_the_first_page_shows_a_write_at_once(client: httpx.Client) -> None:
    for number in range(5):
        task = created(client, f"seen at once {number}")
        assert client.get("/tasks", params={"limit": 1}).json()["items"][0] == task
        changed = client.patch(f"/tasks/{task['id']}", json={"done": True}).json()
        assert client.get("/tasks", params={"limit": 1}).json()["items"][0] == changed
        client.delete(f"/tasks/{task['id']}")
        assert client.get("/tasks", params={"limit": 1}).json()["items"][0]["id"] != task["id"]


def test_health_lists_its_dependencies(client: httpx.Client, service: Replica) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
    dependencies = answer.json()["dependencies"]
    assert set(dependencies) <= {"database", "redis"}
    for state in dependencies.values():
        assert (state["status"], state["breaker"]) == ("up", "closed")
        assert state["latency_ms"] >= 0
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}


def test_the_docs_page_loads_nothing_from_other_hosts(client: httpx.Client) -> None:
    page = client.get("/schema")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    links = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
    assert len(links) >= 3
    for link in links:
        assert link.startswith("/schema/files/"), link
        found = client.get(link)
        assert found.status_code == 200, link
        assert len(found.content) > 100
    assert not re.search(r"https?://(?!127\.0\.0\.1)[a-z.]*(?:cdn|jsdelivr|unpkg|googleapis)", page.text)


def test_openapi_documents_every_route_with_its_errors_and_examples(client: httpx.Client) -> None:
    schema = client.get("/schema/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    documented = {(path, method) for path, operations in schema["paths"].items() for method in operations}
    assert documented == {
        ("/tasks", "get"),
        ("/tasks", "post"),
        ("/tasks/{task_id}", "get"),
        ("/tasks/{task_id}", "patch"),
        ("/tasks/{task_id}", "delete"),
        ("/health", "get"),
        ("/health/live", "get"),
        ("/health/ready", "get"),
    }
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (path, method)
            if not path.startswith("/tasks"):
                continue
            statuses = set(operation["responses"])
            assert {"400", "406", "429", "500", "503"} <= statuses, (path, method)
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert "application/problem+json" in answer["content"], (path, method, status)
            if method in ("post", "patch"):
                assert {"413", "415", "422"} <= statuses
                assert operation["requestBody"]["content"]["application/json"]["schema"]["examples"]
    assert "503" in schema["paths"]["/health"]["get"]["responses"]
