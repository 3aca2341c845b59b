"""Two releases with different cache formats on one Redis Cluster and one database."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from service.tasks.values import FORMAT
from testbed import Postgres, RedisCluster, Replica, until

# the guaranteed second, with a margin for a busy machine
LATE_SECONDS = 3.0
GONE = 1_000_000
"""The version of a deleted task: newer than all others."""

# The same code with another cache format, whose cached tasks contain the release that wrote them.
RELEASE = """
import sys
from service.tasks import model, values

values.FORMAT = {number}
values.PAGES_KEY = f"{{{{tasks:{{values.FORMAT}}}}}}:pages"
import service.tasks.cache, service.tasks.repository

def marked(encode):
    return lambda value: encode(value)[:-1] + b',"release":{number}}}'

service.tasks.cache.encode = marked(model.encode)
service.tasks.repository.encode = marked(model.encode)
from service.__main__ import main
sys.exit(main())
"""


class Release(Replica):
    """A replica of the release with this cache format."""

    def __init__(self, number: int, directory: Path, name: str, **settings: str) -> None:
        self.arguments = ("-c", RELEASE.format(number=number))
        self.number = number
        super().__init__(directory, name, **settings)


@dataclass
class Written:
    """The acknowledged writes of one task, by one writer."""

    path: str
    at: list[tuple[float, int]] = field(default_factory=list)

    def newest(self, before: float) -> int:
        """The minimum version for a read that begins now or later."""
        return max((version for at, version in self.at if at <= before), default=0)


@dataclass
class Traffic:
    """Writers and readers at the replicas in `present`, and the faults that they found."""

    client: httpx.AsyncClient
    present: list[Release]
    tasks: list[Written] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    reads: dict[int, int] = field(default_factory=dict)
    """The number of reads by the release that answered."""

    def any(self) -> Release:
        return random.choice(self.present)

    async def write(self) -> None:
        """Repeatedly changes a task; sometimes deletes it and creates another."""
        while True:
            created = await self.client.post(f"{self.any().url}/tasks", json={"task": "one"})
            assert created.status_code == 201, created.text
            task = Written(created.headers["location"], [(time.monotonic(), 1)])
            self.tasks.append(task)
            for _ in range(random.randrange(2, 12)):
                await asyncio.sleep(random.random() * 0.1)
                changed = await self.client.patch(self.any().url + task.path, json={"task": "more"})
                assert changed.status_code == 200, changed.text
                task.at.append((time.monotonic(), changed.json()["version"]))
            deleted = await self.client.delete(self.any().url + task.path)
            assert deleted.status_code == 204, deleted.text
            task.at.append((time.monotonic(), GONE))

    async def read(self) -> None:
        """Reads first pages and tasks, preferring recently written ones."""
        while True:
            await asyncio.sleep(0.005)
            if not self.tasks:
                continue
            replica, began = self.any(), time.monotonic()
            if random.random() < 0.2:
                await self._read_page(replica, began)
                continue
            task = random.choice(self.tasks[-12:])
            answer = await self.client.get(replica.url + task.path)
            assert answer.status_code in (200, 404), answer.text
            found = answer.json() if answer.status_code == 200 else {"version": GONE, "release": replica.number}
            self._note(replica, task, began, found)
            if found["release"] != replica.number:
                self.wrong.append(f"release {replica.number} answered what {found['release']} had cached")

    async def _read_page(self, replica: Release, began: float) -> None:
        answer = await self.client.get(f"{replica.url}/tasks?limit=50")
        assert answer.status_code == 200, answer.text
        found = {item["id"]: item for item in answer.json()["items"]}
        if answer.json()["release"] != replica.number:
            self.wrong.append(f"release {replica.number} answered a page of {answer.json()['release']}")
        for task in self.tasks[-12:]:
            self._note(replica, task, began, found.get(task.path[7:], {"version": GONE}))

    def _note(self, replica: Release, task: Written, began: float, found: dict[str, int]) -> None:
        self.reads[replica.number] = self.reads.get(replica.number, 0) + 1
        must = task.newest(began - LATE_SECONDS)
        if found["version"] < must:
            self.wrong.append(f"release {replica.number} answered version {found['version']}, and {must} was written")


@asynccontextmanager
async def traffic(*present: Release) -> AsyncIterator[Traffic]:
    """Traffic during the block. Raises the error of a failed request."""
    async with httpx.AsyncClient(timeout=20) as client, asyncio.TaskGroup() as group:
        made = Traffic(client, list(present))
        working = [group.create_task(work()) for work in (made.write,) * 3 + (made.read,) * 4]
        yield made
        for each in working:
            each.cancel()


Start = Callable[[int, str], Release]


@pytest.fixture
def start(tmp_path: Path, clean_cluster: RedisCluster, postgres: Postgres) -> AsyncIterator[Start]:  # type: ignore[misc]
    """Starts a replica of a release, without waiting."""
    settings = {"DATABASE_URL": postgres.new_database(), "REDIS_URL": clean_cluster.url, "REDIS_TIMEOUT_SECONDS": "5"}
    with ExitStack() as stack:

        def started(number: int, name: str) -> Release:
            replica = Release(number, tmp_path, name, **settings)
            stack.callback(replica.kill)
            replica.launch()
            return replica

        yield started


@pytest.mark.long
async def test_a_deployment_that_changes_the_cache_format_causes_no_wrong_reads(start: Start) -> None:
    """A rolling update to another release, replica by replica, and then the rollback."""
    old = [start(FORMAT, "old-1"), start(FORMAT, "old-2")]
    for each in old:
        each.start()
    async with traffic(*old) as under:

        async def some(number: int, count: int = 80) -> None:
            """Waits until the release with this format has answered `count` more reads."""
            least = under.reads.get(number, 0) + count
            await until(lambda: asyncio.sleep(0, under.reads.get(number, 0) >= least), 60, "some reads")

        await some(FORMAT)
        new = [start(FORMAT + 1, "new-1"), start(FORMAT + 1, "new-2")]
        for joins, leaves in zip(new, old, strict=True):
            await asyncio.to_thread(joins.start)
            under.present.append(joins)
            await some(FORMAT)
            await some(FORMAT + 1)
            under.present.remove(leaves)
            await asyncio.to_thread(leaves.stop)
        await some(FORMAT + 1)
        # the values that the old release left in Redis lack the writes of the new one
        back = start(FORMAT, "old-3")
        await asyncio.to_thread(back.start)
        under.present.append(back)
        await some(FORMAT)
    assert not under.wrong, under.wrong[:20]
    assert len(under.tasks) > 4
