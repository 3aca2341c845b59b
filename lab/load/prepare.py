"""Creates the tasks that exist when a run starts."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from lab.load.errors import CannotRunError
from lab.load.requests import WORDS

CLIENTS = 4
# waits for a rate limit of requests a second, but not of requests a minute
LONGEST_WAIT_SECONDS = 2
# retries while the stack is busy, as just after its start
MOST_BUSY_ANSWERS = 5


def prepare(
    host: str, count: int, seed: int, is_stopped: Callable[[], bool] = lambda: False
) -> tuple[list[tuple[str, str]], int]:
    """Creates `count` tasks. Returns their ids and ETags, and how many requests it took. Raises `CannotRunError`."""
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

        def create(text: str) -> tuple[str, str]:
            answer = post(text)
            busy = 0
            while answer.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
                wait = _seconds(answer.headers.get("retry-after", ""))
                is_limited = answer.status_code == httpx.codes.TOO_MANY_REQUESTS
                if is_limited and wait > LONGEST_WAIT_SECONDS:
                    raise CannotRunError(
                        "the rate limit rejects the generator: start the stack with a higher RATE_LIMIT, or off"
                    )
                busy += not is_limited
                if busy > MOST_BUSY_ANSWERS:
                    break
                time.sleep(min(wait, LONGEST_WAIT_SECONDS))
                answer = post(text)
            if answer.status_code != httpx.codes.CREATED:
                raise CannotRunError(f"POST /tasks answers {answer.status_code}: see `glasshouse status`")
            task_id = answer.headers.get("location", "").rsplit("/", 1)[-1]
            if not task_id:
                raise CannotRunError("POST /tasks answers 201 without Location: is this a todo service?")
            return task_id, answer.headers.get("etag", "")

        try:
            with ThreadPoolExecutor(CLIENTS) as pool:
                tasks = list(pool.map(create, texts))
        except httpx.HTTPError as error:
            raise CannotRunError(f"POST /tasks: {error}: see `glasshouse status`") from error
    return tasks, sent


def _seconds(retry_after: str) -> int:
    is_number = retry_after.isdecimal() and len(retry_after) < len("1000000000")
    return int(retry_after) if is_number else LONGEST_WAIT_SECONDS + 1
