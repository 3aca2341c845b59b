"""`python -m benchmarks [price|guide|ceiling|growth|memory|generator|tracestore|scale] [--quick] [--json PATH]`."""

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from httpx import HTTPError
from rich.console import Console

from benchmarks import ceiling, generator, growth, guide, memory, price, report, scale, tracestore
from benchmarks.bench import Bench, CannotRun
from benchmarks.part import QUICK, Part, Scale
from benchmarks.requests import UnexpectedAnswer
from benchmarks.wrk import WrkError

PARTS: dict[str, tuple[str, Callable[[Bench, Scale], Part]]] = {
    "price": ("the cost of telemetry for a cached read", price.measure),
    "guide": ("create, list, delete, as the guide prints them", guide.measure),
    "ceiling": ("a cached read compared with a bare route", ceiling.measure),
    "growth": ("more connections, replicas, tasks", growth.measure),
    "memory": ("a replica's memory during minutes of load", memory.measure),
    "generator": ("capacity of one core of the load generator, compared with wrk", generator.measure),
    "tracestore": ("memory and disk of the trace store during minutes of load", tracestore.measure),
    "scale": ("Prometheus' resources for 1, 10 and 100 replicas", scale.measure),
}


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 if everything was measured, whether or not targets were met; 2 if it could not be measured."""
    chosen = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 150)
    # so that SIGTERM stops the servers, as an error would
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    done: dict[str, Part] = {}
    failure = _measure([chosen.part] if chosen.part else list(PARTS), QUICK if chosen.quick else Scale(), console, done)
    if done:
        try:
            path = report.write(chosen.json, done, is_quick=chosen.quick)
        except OSError as error:
            failure = str(error)
        else:
            figures = [each for part in done.values() for each in part.figures]
            if figures:
                report.show_figures(console, figures)
            console.print(f"written to {path}", highlight=False, soft_wrap=True)
    if failure:
        print(f"benchmarks: {failure}", file=sys.stderr)
    return 2 if failure else 0


def _measure(names: list[str], size: Scale, console: Console, done: dict[str, Part]) -> str:
    """Measures parts one after another into `done`. Returns the error that stopped it, if any."""
    try:
        with Bench() as bench:
            for name in names:
                meaning, measure = PARTS[name]
                console.print(f"[bold]{name}[/]: {meaning} …")
                done[name] = measure(bench, size)
                report.show(console, done[name])
    # testbed/ raises an AssertionError if a server does not come up
    except (CannotRun, WrkError, UnexpectedAnswer, AssertionError, HTTPError, OSError) as error:
        return str(error)
    except KeyboardInterrupt:
        return "stopped"
    return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description="Measures cost and performance of the service. All parts take three quarters of an hour.",
    )
    parts = "; ".join(f"{name}: {meaning}" for name, (meaning, _) in PARTS.items())
    parser.add_argument("part", nargs="?", choices=PARTS, help=f"one part instead of all. {parts}")
    parser.add_argument("--quick", action="store_true", help="a few short rounds, for a rough impression")
    parser.add_argument("--json", type=Path, metavar="PATH", help="output file, instead of one in benchmarks/results/")
    return parser


if __name__ == "__main__":
    sys.exit(main())
