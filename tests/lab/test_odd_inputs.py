"""Unusual options, and responses that are not Prometheus', are one line of error in every command."""

import click
import pytest

from lab.alerts.command import alerts
from lab.alerts.tuning.command import tune
from lab.check import check
from lab.loadtest.command import load as load_command
from tests.lab.canned_server import canned_server
from tests.lab.command_line import invoke


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
    with canned_server(respond(body)) as url:
        done = invoke(command, option, url, *more)
    assert done.exit_code in (1, 2)
    assert url in done.output
