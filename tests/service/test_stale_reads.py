"""No read is stale for long: readers and writers on several replicas, delayed at every await of a read.

Each read is checked against the writes that were acknowledged before it began. The replicas are repositories in this
process, on a real Redis Cluster and a real database; only delays are injected, from a seed.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import pytest

from service.tasks.model import NewTask, TaskChange
from service.tasks.repository import TaskRepository
from testbed import RedisCluster, until
from tests.service.in_process_replicas import InProcessReplicas, in_process_replicas

T = TypeVar("T")
LATE_SECONDS = 1.0
GONE = 1_000_000
"""The version of a deleted task: newer than all others."""


@dataclass
class History:
    """The acknowledged writes and the reads of one task."""

    task_id: UUID
    acknowledged: list[tuple[float, int]] = field(default_factory=list)
    reads: list[tuple[float, int, object]] = field(default_factory=list)
    """When each read began, the version that it returned, and the reader."""

    def newest(self, before: float) -> int:
        """The minimum version for a read that begins now or later."""
        return max((version for at, version in self.acknowledged if at <= before), default=0)

    def stale(self) -> list[tuple[float, int, int]]:
        """Reads of an older version than one acknowledged more than `LATE_SECONDS` before they began."""
        return [
            (began, version, must)
            for began, version, _ in self.reads
            if version < (must := self.newest(began - LATE_SECONDS))
        ]

    def went_back(self, since: float) -> list[tuple[object, int, int]]:
        """Reads that began after `since` and returned an older version than the same reader had seen before."""
        found, seen = [], dict[object, int]()
        for began, version, reader in self.reads:
            if began >= since and version < seen.get(reader, 0):
                found.append((reader, version, seen[reader]))
            seen[reader] = max(version, seen.get(reader, 0))
        return found


async def read(replica: TaskRepository, history: History, reader: object) -> None:
    began = time.monotonic()
    task = await replica.get(history.task_id)
    history.reads.append((began, task.version if task else GONE, reader))


async def interleave(replicas: list[TaskRepository], history: History, chance: random.Random, gap: float) -> None:
    """One task: a reader at each replica, and a writer that changes it several times and may delete it in the end."""

    async def reader(replica: TaskRepository) -> None:
        for _ in range(4):
            await asyncio.sleep(chance.random() * gap)
            await read(replica, history, replica)

    async def writer() -> None:
        for number in range(2):
            await asyncio.sleep(chance.random() * gap)
            changed = await chance.choice(replicas).change(history.task_id, TaskChange(task=f"{number}"), None)
            assert changed is not None
            history.acknowledged.append((time.monotonic(), changed.version))
        if chance.random() < 0.3:
            await asyncio.sleep(chance.random() * gap)
            assert await chance.choice(replicas).delete(history.task_id, None, "")
            history.acknowledged.append((time.monotonic(), GONE))

    await asyncio.gather(writer(), *(reader(replica) for replica in replicas))


async def all_interleavings(made: InProcessReplicas, seed: int, rounds: int, tasks: int) -> list[History]:
    """`rounds` times `tasks` interleavings, each with a last read at every replica after a second."""
    chance = random.Random(seed)
    store = made.stores[0]
    histories: list[History] = []
    for _ in range(rounds):
        # not through the cache, so that the first readers all miss and load
        fresh = [History((await store.create(NewTask("0"))).id) for _ in range(tasks)]
        for history in fresh:
            history.acknowledged.append((time.monotonic(), 1))
        await asyncio.gather(*(interleave(made.replicas, history, chance, 0.05) for history in fresh))
        ended = time.monotonic()
        histories += fresh

        async def is_late(since: float = ended) -> bool:
            return time.monotonic() > since + LATE_SECONDS

        await until(is_late)
        for replica in made.replicas:
            await asyncio.gather(*(read(replica, history, replica) for history in fresh))
    return histories


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("rounds", "tasks"), [(2, 60), pytest.param(10, 200, marks=pytest.mark.long)])
async def test_no_read_is_stale_beyond_a_second(
    clean_cluster: RedisCluster, database_url: str, rounds: int, tasks: int
) -> None:
    async with in_process_replicas(
        1, 0.03, DATABASE_URL=database_url, REDIS_URL=clean_cluster.url, REDIS_TIMEOUT_SECONDS="2"
    ) as made:
        histories = await all_interleavings(made, seed=1, rounds=rounds, tasks=tasks)
    reads = sum(len(history.reads) for history in histories)
    writes = sum(len(history.acknowledged) for history in histories)
    late = sum(version < history.newest(began) for history in histories for began, version, _ in history.reads)
    print(f"\n{len(histories)} interleavings, {reads} reads, {writes} writes, {late} reads late but within a second")
    assert [history.stale() for history in histories if history.stale()] == []
    assert reads == len(histories) * 15


class Traffic:
    """Readers of all tasks at every replica, and writers of half of the tasks, until `end`."""

    def __init__(self, replicas: list[TaskRepository], histories: list[History]) -> None:
        self._replicas = replicas
        self._histories = histories
        self._chance = random.Random(2)
        self._ended = asyncio.Event()
        self._people = [asyncio.create_task(self._read(replica)) for replica in replicas for _ in range(3)]
        self._people += [asyncio.create_task(self._write(histories[number::4])) for number in range(2)]

    async def _read(self, replica: TaskRepository) -> None:
        while not self._ended.is_set():
            await read(replica, self._chance.choice(self._histories), replica)
            await asyncio.sleep(0.004)

    async def _write(self, share: list[History]) -> None:
        while not self._ended.is_set():
            history = self._chance.choice(share)
            changed = await self._chance.choice(self._replicas).change(history.task_id, TaskChange(task="x"), None)
            assert changed is not None
            history.acknowledged.append((time.monotonic(), changed.version))
            await asyncio.sleep(0.01)

    @property
    def writes(self) -> int:
        """How many writes were acknowledged."""
        return sum(len(history.acknowledged) for history in self._histories)

    async def more_writes(self, count: int) -> None:
        """Waits for `count` more acknowledged writes. Raises the error of a failed reader or writer."""
        goal = self.writes + count

        async def enough() -> bool:
            for each in self._people:
                if each.done():
                    each.result()
            return self.writes >= goal

        await until(enough, 40, f"{count} writes")

    async def end(self) -> None:
        """Stops readers and writers."""
        self._ended.set()
        await asyncio.gather(*self._people)


async def _break_and_repair(cluster: RedisCluster, outage: str, traffic: Traffic) -> None:
    """An outage of Redis during which a hundred writes are acknowledged."""
    if outage == "failed over":
        for master in cluster.masters():
            master.kill()
    else:
        for node in cluster.nodes:
            node.pause() if outage == "paused" else node.kill()
    await traffic.more_writes(100)
    for node in cluster.nodes:
        node.resume()
        node.start()
    await until(lambda: asyncio.to_thread(cluster.is_well), 40, "a cluster that is well")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("outage", ["paused", "restarted", "failed over"])
async def test_no_stale_value_is_served_after_an_outage(
    clean_cluster: RedisCluster, database_url: str, outage: str
) -> None:
    """Writes go on while their invalidations are lost. After the outage, no reader sees less than before it."""
    async with in_process_replicas(2, 0.004, DATABASE_URL=database_url, REDIS_URL=clean_cluster.url) as made:
        histories = []
        for _ in range(60):
            task = await made.replicas[0].create(NewTask("0"))
            histories.append(History(task.id, [(time.monotonic(), 1)]))
        traffic = Traffic(made.replicas, histories)
        await traffic.more_writes(50)
        await _break_and_repair(clean_cluster, outage, traffic)
        recovered = time.monotonic()
        await traffic.more_writes(50)
        await traffic.end()
        last = time.monotonic()

        async def is_late() -> bool:
            return time.monotonic() > last + LATE_SECONDS

        await until(is_late)
        for replica in made.replicas:
            for history in histories:
                await read(replica, history, replica)
    print(f"\n{outage}: {sum(len(history.reads) for history in histories)} reads, {traffic.writes} writes")
    assert [history.stale() for history in histories if history.stale()] == []
    # half of the tasks are written, the other half only read
    quiet = [history for number, history in enumerate(histories) if number % 4 > 1]
    assert [history.went_back(0) for history in quiet if history.went_back(0)] == []
    # during writes, a reader may briefly see an older version than before
    assert [history.went_back(last) for history in histories if history.went_back(last)] == []
    back = sum(len(history.went_back(recovered)) for history in histories)
    print(f"reads that returned an older version for less than a second, during writes: {back}")
