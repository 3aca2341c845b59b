"""Requests per second that one core of the load generator can send, compared with wrk, against a fast nginx.

Capacity is requests per CPU time, so that other load on the machine does not matter: it is the rate of a generator
that has its core to itself. Both are measured alternately, in pairs.
"""

import resource
import tempfile
from pathlib import Path

from benchmarks import wrk
from benchmarks.bench import Bench, CannotRun
from benchmarks.figures import Figure
from benchmarks.part import Part, Scale, Table
from lab.load.definition import define
from lab.load.measured import Measured
from lab.load.messages import Failed, Plan, Sample
from lab.load.prepare import prepare
from lab.load.process import Generator, local_processes
from testbed import Process, free_port, wait_for
from testbed.process import is_listening

# well below the capacity of one core, so that nothing waits
RATE = 2000.0
USERS = 100
CONFIGURATION = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off; default_type application/json; keepalive_requests 1000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port};
    location = /tasks {{ add_header Location /tasks/$request_id; return 201 '{{"id":"$request_id","task":"-"}}'; }}
    location ~ ^/tasks/(?<id>.+)$ {{ return 200 '{{"id":"$id","task":"water plants"}}'; }}
  }}
}}
"""


def measure(bench: Bench, scale: Scale) -> Part:
    """Measures pairs of wrk and the load generator."""
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(folder=folder, port=port))
        server = Process(["nginx", "-e", "stderr", "-c", str(configuration)], Path(folder) / "nginx.log")
        server.start()
        try:
            wait_for(lambda: is_listening(port), 10, "nginx")
            for _ in range(scale.rounds // 2):
                theirs.append(_wrk(f"http://127.0.0.1:{port}/tasks/1", scale.leg_seconds))
                ours.append(_generator(f"http://127.0.0.1:{port}", scale.leg_seconds, Path(folder)))
        finally:
            server.stop()
    shares = sorted(mine / wrks for mine, wrks in zip(ours, theirs, strict=True))
    own, other = _median(ours), _median(theirs)
    table = Table(
        "Requests per second of one core",
        ["", "median", "lowest", "highest"],
        [
            ["wrk", f"{other:.0f}", f"{min(theirs):.0f}", f"{max(theirs):.0f}"],
            ["glasshouse load", f"{own:.0f}", f"{min(ours):.0f}", f"{max(ours):.0f}"],
        ],
    )
    data = {"wrk": theirs, "generator": ours, "share": _median(shares)}
    figures: list[Figure] = []
    return Part([table], figures, data, f"glasshouse load makes {_median(shares):.1%} of wrk's (median of pairs)")


def _wrk(url: str, seconds: int) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    (outcome,) = wrk.run([wrk.command(url, seconds, USERS)])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return outcome.requests / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _generator(host: str, seconds: int, folder: Path) -> float:
    shape = define("hot-key", RATE, float(seconds))
    tasks, _ = prepare(host, 50, seed=1)
    traffic = define("cold-cache").traffic
    plan = Plan("bench", RATE, float(seconds), shape.phases, traffic, USERS, 1, host, tasks * 20)
    measured = Measured()
    with Generator(plan, local_processes(0, 0, free_port()), folder / "generator.log") as generator:
        while (message := generator.messages.get(timeout=60)) is not None:
            if isinstance(message, Failed):
                raise CannotRun(message.reason)
            if isinstance(message, Sample):
                measured.add(message)
    if measured.failed or measured.dropped:
        raise CannotRun(f"{measured.failed} requests failed and {measured.dropped} were dropped")
    # the first second includes the start of the process and its users
    steady = measured.seconds[1:]
    return sum(each.answered for each in steady) / sum(each.cpu * each.span for each in steady)


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
