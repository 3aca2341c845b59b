"""For every behaviour of a server: offered = answered + failed + dropped, and the run reports it."""

import gzip
import json
import os
import random
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brotli
import pytest

from lab.load.connection import Connection, FailedRequestError, Sent
from lab.load.expected import check_success, unexpected
from lab.load.requests import Operation
from lab.load.target import resolve
from lab.runs.record import Run, load
from tests.lab.load.todo_stub import (
    FOREVER,
    Misbehaviour,
    Reply,
    TodoStub,
    body_of,
    gzipped,
    head_of,
    response,
    with_body,
)

TRUNCATED = pytest.mark.case("truncated answer")
HUNG = pytest.mark.case("hung answer")
ODD = pytest.mark.case("load, answers")
REDIRECTED = pytest.mark.case("load, redirects")

PREPARED = 5
RATE, SECONDS = 20, 2
OFFERED = RATE * SECONDS


@dataclass(frozen=True)
class Case:
    """A server's behaviour, and the expected result of a run of 40 requests."""

    name: str
    misbehaves: Misbehaviour | None
    kind: str
    """The kind of every failure; empty if nothing fails."""
    answered: int | None = 0
    """How many requests are answered. None: those that this fault does not affect, such as deletions."""
    users: int = 100
    dropped: int = 0
    idle_seconds: float = FOREVER
    longest: float = 0.0
    mix: str = "read = 0.8\ncreate = 0.2"
    case: pytest.MarkDecorator | None = None


def never(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(right, wait_seconds=FOREVER)


def first_five(number: int, method: str, right: bytes) -> Reply | None:
    return None if number < 5 else never(number, method, right)


def breaks_off(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(
        response("200 OK" if method == "GET" else "201 Created", b"")[:-21] + b"content-length: 1000\r\n\r\n{", True
    )


def breaks_off_chunked(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"id"\r\n', True)


def breaks_off_in_the_head(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(b"HTTP/1.1 200 OK\r\ncontent-le", True)


def not_http(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", True)


def hangs_up(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(b"", True)


def stalls(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(right, wait_seconds=12)


def trickles(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(right, trickle_seconds=1)


def empty(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(with_body(right, b""))


def html(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(with_body(right, b"<html>It works!</html>"))


def another_task(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(with_body(right, b'{"id":"00000000-0000-0000-0000-000000000000","task":"x"}'))


def without_location(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(right.replace(b"location:", b"x-location:"))


def cut_gzip(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(gzipped(right, cut=9))


def bad_gzip(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(with_body(right, body_of(right), b"content-encoding: gzip\r\n"))


def bad_brotli(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(with_body(right, body_of(right), b"content-encoding: br\r\n"))


def unknown_coding(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(with_body(right, body_of(right), b"content-encoding: zebra\r\n"))


def good_gzip(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(gzipped(right))


def number_only(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(with_body(right, b"7"))


def not_utf8(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(with_body(right, body_of(right).replace(b"water", b"wat\xff\xfe")))


def good_brotli(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(with_body(right, brotli.compress(body_of(right)), b"content-encoding: br\r\n"))


def chunked(number: int, method: str, right: bytes) -> Reply | None:
    body = body_of(right)
    return Reply(head_of(right) + b"\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))


def until_close(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(head_of(right) + b"\r\n\r\n" + body_of(right), True)


def after_interim(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n" + right)


def redirects(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(response("302 Found", b"", "location: http://127.0.0.1:9/tasks\r\n"))


def redirects_nowhere(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(response("307 Temporary Redirect", b"{}"))


def accepted(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(right.replace(b"201 Created", b"202 Accepted"))


def unavailable(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(response("503 Service Unavailable", b"{}"))


def answering(name: str, misbehaves: Misbehaviour, kind: str, *marks: pytest.MarkDecorator) -> Any:
    """How a server responds, and the kind of failure that this is; no kind if the response is correct."""
    return pytest.param(misbehaves, kind, id=name, marks=marks)


def bomb(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(with_body(right, gzip.compress(bytes(64 << 20)), b"content-encoding: gzip\r\n"))


def brotli_bomb(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(with_body(right, brotli.compress(bytes(64 << 20), quality=1), b"content-encoding: br\r\n"))


def endless(number: int, method: str, right: bytes) -> Reply | None:
    return Reply(head_of(right) + b"\r\n\r\n" + bytes(20 << 20))


ANSWERS = [
    answering("breaks off", breaks_off, "truncated response", TRUNCATED),
    answering("breaks off between chunks", breaks_off_chunked, "truncated response", TRUNCATED),
    answering("breaks off in its head", breaks_off_in_the_head, "truncated response", TRUNCATED),
    answering("hangs up without a byte", hangs_up, "connection closed before the response"),
    answering("speaks another protocol", not_http, "not HTTP"),
    answering("stalls", stalls, "no complete response in time", HUNG),
    answering("sends a byte a second", trickles, "no complete response in time", ODD),
    answering("is empty", empty, "empty response", ODD),
    answering("is HTML", html, "unexpected JSON", ODD),
    answering("is a JSON number", number_only, "unexpected JSON", ODD),
    answering("is not UTF-8", not_utf8, "unexpected JSON", ODD),
    answering("is of another task", another_task, "wrong task", ODD),
    answering("has no Location", without_location, "created without Location", ODD),
    answering("cuts off its gzip", cut_gzip, "wrong content coding", ODD),
    answering("lies about gzip", bad_gzip, "wrong content coding", ODD),
    answering("lies about brotli", bad_brotli, "wrong content coding", ODD),
    answering("is encoded in a way that was not asked for", unknown_coding, "wrong content coding", ODD),
    answering("is 64 MB of zeros by gzip", bomb, "response too large", ODD),
    answering("is 64 MB of zeros by brotli", brotli_bomb, "response too large", ODD),
    answering("has no end", endless, "response too large", ODD),
    answering("is a redirect", redirects, "redirect", REDIRECTED),
    answering("is a redirect without Location", redirects_nowhere, "redirect", REDIRECTED),
    answering("is another success", accepted, "status 202", ODD),
    answering("is unavailable", unavailable, "status 503"),
    answering("is compressed well", good_gzip, ""),
    answering("is compressed well by brotli", good_brotli, ""),
    answering("is chunked", chunked, ""),
    answering("ends with the connection", until_close, ""),
    answering("follows an interim one", after_interim, ""),
]


@pytest.mark.parametrize(("misbehaves", "kind"), ANSWERS)
def test_an_incomplete_response_is_a_failure(misbehaves: Misbehaviour, kind: str) -> None:
    with TodoStub(misbehaves=misbehaves) as stub:
        connection = Connection(resolve(stub.url))
        body, deadline, sent = b'{"task":"water plants"}', time.perf_counter() + 0.5, Sent()
        found = ""
        try:
            answer = connection.ask("POST", "/tasks", body, "", deadline if kind.endswith("in time") else 1e12, sent)
            if answer.status != 201:
                raise unexpected(answer)
            check_success(Operation.CREATE, answer, text="water plants")
        except FailedRequestError as error:
            found = str(error.kind)
        finally:
            connection.close()
        assert found == kind
        assert sent.times == stub.total == 1


def test_a_mutated_response_is_correct_or_a_failure() -> None:
    chance, kinds, taken = random.Random(19), set[str](), 0
    right_ones = [lambda n, m, right: Reply(right), good_gzip, good_brotli, chunked, after_interim]

    def mutates(number: int, method: str, right: bytes) -> Reply:
        made = chance.choice(right_ones)(number, method, right)
        assert made is not None
        data = bytearray(made.data)
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(data) + 1)
            odd = chance.choice((chance.randbytes(2), b"\r\n", b"\x00", b"9999999999", b"", b": "))
            data[at : at + chance.choice((0, 1, 5))] = odd
        return Reply(bytes(data), closes=True)

    with TodoStub(misbehaves=mutates) as stub:
        for _ in range(400):
            connection, sent = Connection(resolve(stub.url)), Sent()
            try:
                answer = connection.ask("POST", "/tasks", b'{"task":"water plants"}', "", 1e12, sent)
                if answer.status != 201:
                    raise unexpected(answer)
                check_success(Operation.CREATE, answer, text="water plants")
                made = json.loads(answer.body)
                assert made["task"] == "water plants"
                assert answer.header("location").endswith(made["id"])
                taken += 1
            except FailedRequestError as error:
                kinds.add(str(error.kind))
            finally:
                connection.close()
            assert sent.times == 1
        assert stub.total == 400
    assert taken > 50
    assert {"not HTTP", "truncated response", "unexpected JSON"} <= kinds


RUNS = [
    Case("never answers", never, "no complete response in time", longest=10.0, case=HUNG),
    Case(
        "never answers five users",
        never,
        "no complete response in time",
        users=5,
        dropped=OFFERED - 5,
        longest=10.0,
        case=HUNG,
    ),
    Case("answers the first five", first_five, "no complete response in time", answered=5, longest=10.0),
    Case("breaks off", breaks_off, "truncated response", case=TRUNCATED),
    Case("stalls for 12 s", stalls, "no complete response in time", longest=10.0, case=HUNG),
    Case("answers with nothing", empty, "empty response", case=ODD),
    Case("redirects", redirects, "redirect", case=REDIRECTED),
    Case("lies about its encoding", bad_gzip, "wrong content coding", case=ODD),
    # each user's connection is reused after a second; only reads, because they may be sent again
    Case("closes idle connections", None, "", answered=OFFERED, users=20, idle_seconds=0.5, mix="read = 1.0"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def profile(folder: Path, mix: str = "read = 0.8\ncreate = 0.2") -> str:
    file = folder / "stub.toml"
    file.write_text(f'rate = {RATE}\ntime = "{SECONDS}s"\nprepared = {PREPARED}\n[mix]\n{mix}\n')
    return str(file)


def start(*arguments: str, runs: Path) -> subprocess.Popen[str]:
    away = {"PROMETHEUS_PORT": str(free_port())}
    return subprocess.Popen(
        [sys.executable, "-m", "lab", "load", *arguments, f"--runs={runs}"],
        env={**os.environ, **away},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def only_run(runs: Path) -> Run:
    (folder,) = runs.iterdir()
    return load(str(folder))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, Run, int]]:
    """Exit status, output, record and the stub's count of all runs, which run concurrently since they mostly wait."""
    results = {}
    with ExitStack() as stack:
        started = []
        for case in RUNS:
            folder = tmp_path_factory.mktemp("case")
            stub = stack.enter_context(
                TodoStub(misbehaves=case.misbehaves, good=PREPARED, idle_seconds=case.idle_seconds)
            )
            arguments = [profile(folder, case.mix), f"--host={stub.url}", f"--users={case.users}"]
            started.append((case, folder, stub, start(*arguments, runs=folder / "runs")))
        for case, folder, stub, process in started:
            output, _ = process.communicate(timeout=200)
            assert process.returncode in (0, 1), output
            results[case.name] = (process.returncode, output, only_run(folder / "runs"), stub.total)
    return results


@pytest.mark.parametrize(
    "case",
    [pytest.param(each, id=each.name, marks=[each.case] if each.case else []) for each in RUNS],
)
def test_every_due_request_has_an_outcome(case: Case, results: dict[str, tuple[int, str, Run, int]]) -> None:
    status, output, run, counted = results[case.name]
    assert run.offered == OFFERED
    assert run.answered + run.failed + run.dropped == OFFERED
    assert (run.answered, run.dropped) == (case.answered, case.dropped)
    assert run.total.offered == OFFERED
    assert {name.split(": ")[1] for name in run.failures} == ({case.kind} if case.kind else set())
    assert sum(each.count for each in run.failures.values()) == run.failed
    assert run.total.longest >= case.longest
    # the server may or may not have read the first try from the connection that it closed
    assert run.prepared + run.sent <= counted <= run.prepared + run.sent + run.resent
    assert f"offered {OFFERED} = answered {run.answered}" in output
    assert f"+ failed {run.failed} + dropped {run.dropped}" in output
    missed = {each.name for each in run.checks if not each.met}
    if not case.kind:
        # this test does not judge latencies
        assert all("100 ms" in each for each in missed)
        assert status == bool(missed)
        return
    assert status == 1
    assert "failed requests" in missed
    assert "service levels missed" in output
    assert f"{case.kind} (such as: " in output
    # one line per route and kind, not per request
    assert output.count("failed: ") <= 2
    assert not case.dropped or f"dropped {case.dropped}" in output.split("waiting for Prometheus' last scrape")[0]


@REDIRECTED
def test_no_redirect_leads_to_another_host(tmp_path: Path) -> None:
    with TodoStub() as other:

        def away(number: int, method: str, right: bytes) -> Reply | None:
            return Reply(response("302 Found", b"", f"location: {other.url}/tasks\r\n"))

        with TodoStub(misbehaves=away) as stub:
            process = start(profile(tmp_path), f"--host={stub.url}", runs=tmp_path / "runs")
            output, _ = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "POST /tasks answers 302" in output
        assert other.total == 0
