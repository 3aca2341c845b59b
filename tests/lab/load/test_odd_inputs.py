"""Unusual addresses, profiles, messages and responses that a load meets: parsed as meant, or rejected."""

import io
import socket
import threading
from contextlib import suppress
from pathlib import Path
from queue import Queue

import pytest

from lab.load import cold
from lab.load import prepare as module
from lab.load.definition import define
from lab.load.errors import CannotRunError
from lab.load.messages import End, Sample, encode
from lab.load.prepare import prepare
from lab.load.process import Generator
from lab.load.target import check_target
from lab.settings import LabSettings
from tests.lab.canned_server import canned_server


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


@pytest.mark.parametrize("wait", ["9" * 5000, "-1", "nan", "\u00b2", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_an_invalid_retry_after_counts_as_a_long_wait(wait: str) -> None:
    head = f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: {wait}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with canned_server(head.encode()) as url, pytest.raises(CannotRunError, match="rate limit"):
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
