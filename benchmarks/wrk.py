"""Runs wrk (https://github.com/wg/wrk), and parses its output."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3, "h": 3600e3}
TOTAL = re.compile(r"(\d+) requests in ([\d.]+)(us|ms|s|m|h)\b")
RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
QUANTILE = re.compile(r"^\s+(50|75|90|99)%\s+([\d.]+)(us|ms|s|m|h) *$", re.MULTILINE)
REFUSED = re.compile(r"Non-2xx or 3xx responses: (\d+)")
BROKEN = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


class WrkError(Exception):
    """wrk did not run, or a request failed."""


@dataclass(frozen=True)
class Outcome:
    """The result of one run of wrk. Latencies in milliseconds."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float


def parse(text: str) -> Outcome:
    """Parses the output of `wrk --latency`. Raises `WrkError` if a request failed, because then it measured errors."""
    total, rate = TOTAL.search(text), RATE.search(text)
    if total is None or rate is None:
        raise WrkError(f"wrk printed no result: {text.strip() or 'nothing'}")
    requests = int(total[1])
    refused = REFUSED.search(text)
    if refused:
        raise WrkError(f"{refused[1]} of {requests} requests were not answered with 2xx")
    broken = BROKEN.search(text)
    if broken:
        raise WrkError(f"connections failed: {broken[0]}")
    if not requests:
        raise WrkError("no request was answered")
    quantiles = {share: float(value) * UNITS[unit] for share, value, unit in QUANTILE.findall(text)}
    return Outcome(requests, float(rate[1]), quantiles["50"], quantiles["99"])


def command(
    url: str, seconds: int, connections: int, *, script: Path | None = None, arguments: Sequence[str] = ()
) -> list[str]:
    """The command line of a run with one thread."""
    scripted = ["-s", str(script)] if script else []
    return [
        *("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "--latency"),
        *scripted,
        url,
        *(["--", *arguments] if arguments else []),
    ]


def run(commands: Sequence[Sequence[str]]) -> list[Outcome]:
    """Runs several at once and waits for all of them."""
    running = [subprocess.Popen(each, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for each in commands]
    try:
        return [parse(each.communicate()[0]) for each in running]
    finally:
        for each in running:
            each.kill()
            each.wait()
