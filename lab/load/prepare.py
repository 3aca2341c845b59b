"""Creates the tasks that exist when a run starts."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import httpx

from lab.load.errors import CannotRunError
from lab.load.requests import WORDS

CLIENTS = 4
# long enough for a rate limit per second, but not per minute
LONGEST_WAIT_SECONDS = 2
# retries of a 503, as just after a start
MAX_BUSY_ANSWERS = 5
# limit of the time in which no task is created
STALL_SECONDS = 30.0
LOOK_SECONDS = 0.2

# id and ETag
Task = tuple[str, str]


def prepare(host: str, count: int, seed: int, is_stopped: Callable[[], bool] = lambda: False) -> tuple[list[Task], int]:
    """Creates `count` tasks. Returns their ids and ETags, and the number of requests. Raises `CannotRunError`."""
    draw = random.Random(f"{seed}/prepared")  # noqa: S311 (no secret)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(2, 12))) for _ in range(count)]
    sent = 0
    counting = threading.Lock()

    with httpx.Client(base_url=host, timeout=10, trust_env=False) as client:

        def post(text: str) -> httpx.Response:
            nonlocal sent
            if is_stopped():
                raise CannotRunError("stopped before the load began")
            with counting:
                sent += 1
            return client.post("/tasks", json={"task": text})

        def create(text: str) -> Task:
            answer = post(text)
            busy = 0
            while answer.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
                pause = _seconds(answer.headers.get("retry-after", ""))
                is_limited = answer.status_code == httpx.codes.TOO_MANY_REQUESTS
                if is_limited and pause > LONGEST_WAIT_SECONDS:
                    raise CannotRunError(
                        "the rate limit rejects the generator: start the stack with a higher RATE_LIMIT, or off"
                    )
                busy += not is_limited
                if busy > MAX_BUSY_ANSWERS:
                    break
                time.sleep(min(pause, LONGEST_WAIT_SECONDS))
                answer = post(text)
            if answer.status_code != httpx.codes.CREATED:
                raise CannotRunError(f"POST /tasks answers {answer.status_code}: see `glasshouse status`")
            task_id = answer.headers.get("location", "").rsplit("/", 1)[-1]
            if not task_id:
                raise CannotRunError("POST /tasks answers 201 without Location: is this a todo service?")
            return task_id, answer.headers.get("etag", "")

        pool = ThreadPoolExecutor(CLIENTS)
        try:
            tasks = _results([pool.submit(create, text) for text in texts], is_stopped)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CannotRunError(f"POST /tasks: {error}: see `glasshouse status`") from error
        finally:
            # closes connections with outstanding requests, so that their threads end
            pool.shutdown(wait=False, cancel_futures=True)
            client.close()
            pool.shutdown()
    return tasks, sent


def _results(futures: Sequence["Future[Task]"], is_stopped: Callable[[], bool]) -> list[Task]:
    """The results of all futures. Raises `CannotRunError` if stopped, or if no future ends for `STALL_SECONDS`."""
    waiting, ended = set(futures), time.monotonic()
    while waiting:
        done, waiting = wait(waiting, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
        for each in done:
            each.result()
            ended = time.monotonic()
        if is_stopped():
            raise CannotRunError("stopped before the load began")
        # httpx has a timeout only for each read: without this check, a server that trickles would take forever
        if time.monotonic() > ended + STALL_SECONDS:
            raise CannotRunError(f"POST /tasks: no task was created within {STALL_SECONDS:g} s")
    return [each.result() for each in futures]


def _seconds(retry_after: str) -> int:
    is_number = retry_after.isdecimal() and len(retry_after) < len("1000000000")
    return int(retry_after) if is_number else LONGEST_WAIT_SECONDS + 1
