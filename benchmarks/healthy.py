"""Which alerts fire while nothing is wrong: `python -m benchmarks.healthy [MINUTES]`, on a running stack.

Twenty minutes of a steady load. In Docker the replicas are scaled from 3 to 5 and back; then, in both ways, they are
restarted one after the other, and finally the whole stack is restarted. Prints each alert that fired, since when, for
how long, during what, and the CPU pressure at that time; exit status 1 if one fired that nothing had caused.

CPU pressure is the share of time in which a process waited for a core (`node_pressure_cpu_waiting_seconds_total`). On a
machine that is busy with other work requests become slow, and alerts on latency are then true.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.alerts.drills.causes import load
from lab.alerts.drills.runner import OPTIONAL
from lab.prometheus import Prometheus, PrometheusError
from lab.settings import load_settings
from lab.stack.events import FaultLog
from lab.stack.faults import Stack, running_stack

ROOT = Path(__file__).parent.parent
RATE = 15.0
STEP = 5.0
HEALTHY_SECONDS = 240.0
FIRING = 'ALERTS{alertstate="firing", severity=~"page|ticket"}'
UP = 'sum(up{job="todo"})'
PRESSURE = "avg(rate(node_pressure_cpu_waiting_seconds_total[1m]))"
# ReplicaRestarted looks back five minutes
RESTARTED = frozenset({"ReplicaRestarted"})
# while everything restarts, the gateway answers before the replicas do, so requests fail and cost budget
AWAY = (
    RESTARTED
    | {"GatewayErrorRatioHigh", "GatewayUpstreamErrors"}
    | {f"AvailabilityBurn{window}" for window in ("Fast", "Medium", "Slow", "VerySlow")}
)


@dataclass(frozen=True)
class Phase:
    """A phase of the load, and the alerts that may fire from its start until the next phase."""

    name: str
    may: frozenset[str]
    act: Callable[[Stack, Prometheus], None]


def main() -> int:
    """Runs the phases, and prints the alerts that fired."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    settings, stack = load_settings(), running_stack()
    absent = OPTIONAL - set(stack.parts())
    phases = [each for each in PHASES if stack.way == "docker" or not each.name.startswith("scaled")]
    started: list[tuple[float, Phase]] = []
    with Prometheus(settings.url("prometheus")) as prometheus, load(settings, "steady", RATE) as process:
        for phase in phases:
            started.append((time.time(), phase))
            print(f"{time.strftime('%H:%M:%S', time.gmtime())}  {phase.name}", flush=True)
            phase.act(stack, prometheus)
            time.sleep(max(0.0, started[-1][0] + minutes * 60 / len(phases) - time.time()))
            if process.poll() is not None:
                raise SystemExit(f"the load ended with exit status {process.returncode}")
        odd = 0
        for name, labels, fired, ended in sorted(_fired(prometheus, started[0][0], absent), key=lambda each: each[2]):
            # the first sample may be up to one step before the first phase
            during = next((phase for at, phase in reversed(started) if at <= fired), started[0][1])
            is_odd = name not in during.may
            odd += is_odd
            print(
                f"{time.strftime('%H:%M:%S', time.gmtime(fired))}  {ended - fired:5.0f} s  {name:24} {during.name:18} "
                f"{'FALSE' if is_odd else 'true':5}  {_pressure(prometheus, fired - 60, fired)}  {labels}"
            )
        for (at, phase), until in zip(started, [*(at for at, _ in started[1:]), time.time()], strict=True):
            print(f"CPU pressure, {phase.name}: {_pressure(prometheus, at, until)}")
    print(f"{minutes:g} minutes on the {stack.way} stack: {odd} alerts fired of what did not happen")
    return 1 if odd else 0


def _fired(prometheus: Prometheus, since: float, absent: frozenset[str]) -> Iterator[tuple[str, str, float, float]]:
    """Name, labels, start and end of the alerts that fired; a gap of more than a minute separates two episodes."""
    for series in prometheus.query_range(FIRING, since, time.time(), STEP):
        times = [at for at, _ in series.points]
        if series.labels.get("job") in absent:
            continue
        own = {key: value for key, value in series.labels.items() if key not in {"__name__", "alertname", "alertstate"}}
        begin = times[0]
        for at, after in zip(times, [*times[1:], float("inf")], strict=True):
            if after - at > 60:
                yield series.labels["alertname"], str(own), begin, at
                begin = after


def _pressure(prometheus: Prometheus, since: float, until: float) -> str:
    """The mean CPU pressure in that time, in percent."""
    values = [value for each in prometheus.query_range(PRESSURE, since, until, STEP) for _, value in each.points]
    return f"{sum(values) / len(values):4.0%}" if values else "   -"


def _wait_for(prometheus: Prometheus, replicas: int) -> None:
    deadline = time.monotonic() + HEALTHY_SECONDS
    while time.monotonic() < deadline:
        with suppress(PrometheusError):
            if prometheus.value(UP) == replicas:
                return
        time.sleep(1)
    raise SystemExit(f"waited {HEALTHY_SECONDS:.0f} s for {replicas} replicas, in vain")


def _scale(replicas: int) -> Callable[[Stack, Prometheus], None]:
    def act(_: Stack, prometheus: Prometheus) -> None:
        _compose("up", "-d", "--no-recreate", "--no-deps", "--wait", "--scale", f"todo={replicas}", "todo")
        _wait_for(prometheus, replicas)

    return act


def _restart_replicas(stack: Stack, prometheus: Prometheus) -> None:
    log = FaultLog(load_settings().url("desk"))
    for part in sorted(each for each in stack.parts() if each.startswith("todo-")):
        # reported as a fault, so that `glasshouse record` and `glasshouse tune` know it
        with log.of_action(part, "restart"):
            stack.act("restart", part)
        # so that it is scraped and gets requests before the next one is restarted
        time.sleep(15)
        _wait_for(prometheus, 3)


def _restart_all(stack: Stack, prometheus: Prometheus) -> None:
    if stack.way == "docker":
        _compose("restart")
    else:
        for action in ("down", "up"):
            subprocess.run([sys.executable, "-m", "lab", action], cwd=ROOT, check=True)
    _wait_for(prometheus, 3)


def _compose(*arguments: str) -> None:
    done = subprocess.run(["docker", "compose", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.strip())


PHASES = (
    Phase("load alone", frozenset(), lambda _, prometheus: _wait_for(prometheus, 3)),
    Phase("scaled to 5", frozenset(), _scale(5)),
    Phase("scaled to 3", frozenset(), _scale(3)),
    Phase("rolling restart", RESTARTED, _restart_replicas),
    Phase("stack restarted", AWAY, _restart_all),
)

if __name__ == "__main__":
    sys.exit(main())
