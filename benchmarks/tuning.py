"""Duration and memory of a backtest: `python -m benchmarks.tuning [DAYS [ALERTS]]`.

Fills a Prometheus with `DAYS` (3) of `ALERTS` (all) that have a threshold, at the rules' interval, three label sets
each, then backtests one alert and all of them, in separate processes.
"""

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from lab.alerts.tuning.form import Watched, load_watched

STEP = 5
LABEL_SETS = 3
START_SECONDS = 60
PORT = 29_790


def main() -> int:
    """Prints the results."""
    days = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    watched = [each for each in load_watched().values() if not each.is_state]
    watched = watched[: int(sys.argv[2]) if len(sys.argv) > 2 else None]
    with tempfile.TemporaryDirectory() as folder:
        samples = _fill(Path(folder), watched, days)
        print(f"{days:g} days, {len(watched)} alerts with a number, {samples:,} samples")
        server = _serve(Path(folder))
        try:
            _measure("one alert", days, [watched[0].alert])
            _measure("all alerts", days, [])
        finally:
            server.terminate()
            server.wait()
    return 0


def _fill(folder: Path, watched: list[Watched], days: float) -> int:
    """Writes blocks, one alert at a time to limit memory, and returns the number of samples."""
    end = int(time.time()) // STEP * STEP
    times = range(end - int(days * 86_400), end, STEP)
    count = 0
    for each in watched:
        text = folder / "history.om"
        with text.open("w") as file:
            for line in _lines(each, times):
                file.write(line)
                count += 1
        subprocess.run(
            ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data")],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return count


def _lines(watched: Watched, times: range) -> Iterator[str]:
    chance = random.Random(watched.alert)  # noqa: S311 (no secret)
    threshold = watched.numbers.threshold or 0.0
    series = [("alert_threshold", "", lambda: threshold)]
    if watched.numbers.floor is not None:
        series.append(("alert_floor", "", lambda: watched.numbers.floor or 0.0))
        series += [("alert_events", f',unit="{n}"', lambda: chance.randrange(20)) for n in range(LABEL_SETS)]
    series += [("alert_signal", f',unit="{n}"', lambda: threshold * chance.gauss(0.7, 0.2)) for n in range(LABEL_SETS)]
    for name, labels, value in sorted(series, key=lambda each: each[0]):
        if not labels or labels.endswith('"0"'):
            yield f"# TYPE {name} gauge\n"
        for at in times:
            yield f'{name}{{alert="{watched.alert}"{labels}}} {value():.4g} {at}\n'
    yield "# TYPE fault_active gauge\n"
    for begin in times[:: 3600 * 6 // STEP]:
        for at in range(begin, begin + 60, STEP):
            yield f'fault_active{{part="a",kind="drill",drill="{watched.alert}"}} 1 {at}\n'
    yield "# EOF\n"


def _serve(folder: Path) -> subprocess.Popen[bytes]:
    config = folder / "prometheus.yml"
    config.write_text("global: {}\n")
    server = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=30d",
            f"--web.listen-address=127.0.0.1:{PORT}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{PORT}/-/ready", trust_env=False).status_code == httpx.codes.OK:
                return server
        except httpx.HTTPError:
            time.sleep(0.2)
    server.terminate()
    raise SystemExit("Prometheus did not start")


def _measure(name: str, days: float, arguments: list[str]) -> None:
    """Wall time, CPU time and peak memory of a backtest, including imports."""
    command = [sys.executable, "-m", "lab", "tune", *arguments, f"--last={int(days * 24)}h", "--no-corpus"]
    began = time.monotonic()
    child = subprocess.Popen([*command, f"--prometheus=http://127.0.0.1:{PORT}"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - began
    _print(name, wall, usage, os.waitstatus_to_exitcode(status))


def _print(name: str, wall: float, usage: resource.struct_rusage, status: int) -> None:
    busy = usage.ru_utime + usage.ru_stime
    failed = f", exit status {status}" if status else ""
    print(f"{name}: {wall:.1f} s ({busy:.1f} s of processor), {usage.ru_maxrss / 1024:.0f} MiB{failed}")


if __name__ == "__main__":
    sys.exit(main())
