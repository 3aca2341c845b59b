"""The process that sends the requests: Locust, headless, in one process or as master or worker.

It is a process of its own because Locust patches the standard library with gevent when it is imported. It reads the
plan from the first line of standard input, stops when that is closed, and writes its measurements to standard output
(see `messages`).
"""

import argparse
import logging
import os
import sys
import time

import gevent
import gevent.socket
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner

from lab.load.coordinator import Coordinator, WorkerLostError
from lab.load.messages import Failed, Plan, Started, decode_plan
from lab.load.output import Output
from lab.load.user import TodoUser
from lab.load.worker import Worker
from lab.runs.record import machine

WORKERS_JOIN_SECONDS = 30.0
# Seconds that a stopped worker has to report the outcomes of its requests.
STOP_SECONDS = 1.2


def main() -> None:
    """Runs a local generator (no arguments), a master (`--workers`) or a worker (`--master`)."""
    parser = argparse.ArgumentParser(prog="python -m lab.load.generator")
    parser.add_argument("--workers", type=int, default=0, help="run as the master of this many workers")
    parser.add_argument("--master", help="run as a worker of the master at this host")
    parser.add_argument("--bind", default="127.0.0.1", help="the address a master listens on")
    parser.add_argument("--port", type=int, default=8089, help="the master's port")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    if options.master:
        work_for(options.master, options.port)
    else:
        lead(decode_plan(sys.stdin.buffer.readline()), options.workers, options.bind, options.port)


def work_for(master: str, port: int) -> None:
    """Runs a worker until the master quits."""
    environment = Environment(user_classes=[TodoUser])
    runner = environment.create_worker_runner(master, port)
    TodoUser.worker = Worker(runner)
    runner.greenlet.join()


def lead(plan: Plan, workers: int, bind: str, port: int) -> None:
    """Runs the plan: alone, or with workers that connect to `bind`:`port`."""
    output = Output()
    output.write(Started(machine()))
    environment = Environment(user_classes=[TodoUser], host=plan.host)
    runner: LocalRunner | MasterRunner
    if workers:
        runner = master = environment.create_master_runner(bind, port)
        if not _joined(master, workers):
            output.write(Failed(f"{master.worker_count} of {workers} workers joined in {WORKERS_JOIN_SECONDS:g} s"))
            return
    else:
        runner = environment.create_local_runner()
        TodoUser.worker = Worker(runner)
    coordinator = Coordinator(plan, runner, output)
    runner.start(plan.users, spawn_rate=plan.users)
    running = gevent.spawn(coordinator.run)
    closing = gevent.spawn(_until_closed)
    gevent.wait([running, closing], count=1)
    if not running.dead:
        coordinator.stop()
        running.join(STOP_SECONDS)
    if running.dead:
        try:
            output.write(running.get())
        except WorkerLostError as error:
            output.write(Failed(str(error)))
    runner.quit()


def _joined(runner: MasterRunner, workers: int) -> bool:
    deadline = time.monotonic() + WORKERS_JOIN_SECONDS
    while runner.worker_count < workers:
        if time.monotonic() > deadline:
            return False
        gevent.sleep(0.05)
    return True


def _until_closed() -> None:
    while True:
        gevent.socket.wait_read(sys.stdin.fileno())
        if not os.read(sys.stdin.fileno(), 4096):
            return


if __name__ == "__main__":
    main()
