"""The rate limit: shared by all replicas, per client address as the gateway saw it."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from testbed import Postgres, RedisCluster, Replica, replicas

LIMIT = 30
Start = Callable[..., list[Replica]]


@pytest.fixture
def start(tmp_path: Path, redis_cluster: RedisCluster, postgres: Postgres) -> Iterator[Start]:
    """Starts replicas on the cluster, with these settings."""
    redis_cluster.flush()
    with ExitStack() as stack:

        def started(count: int, **settings: str) -> list[Replica]:
            settings = {"DATABASE_URL": postgres.new_database(), "REDIS_URL": redis_cluster.url} | settings
            # with the default, a busy machine lets requests through because Redis answers too late
            settings["REDIS_TIMEOUT_SECONDS"] = "5"
            return stack.enter_context(replicas(tmp_path, count, **settings))

        yield started


def test_two_replicas_together_allow_exactly_the_limit(start: Start) -> None:
    pair = start(2, RATE_LIMIT=f"{LIMIT}/hour")
    with httpx.Client(timeout=5) as client:
        answers = [client.get(f"{pair[number % 2].url}/tasks") for number in range(LIMIT * 2)]
        assert [answer.status_code for answer in answers] == [200] * LIMIT + [429] * LIMIT
        left = [re.search(r";r=(\d+);", answer.headers["ratelimit"]) for answer in answers]
        assert [int(each[1]) for each in left if each] == [*range(LIMIT - 1, -1, -1), *[0] * LIMIT]
        for answer in answers:
            assert answer.headers["ratelimit-policy"] == f'"{LIMIT}-per-1-hour";q={LIMIT};w=3600'
        for answer in answers[LIMIT:]:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == 429
            assert 1 <= int(answer.headers["retry-after"]) <= 7200
        for path in ("/health", "/health/live", "/health/ready"):
            assert client.get(pair[0].url + path).status_code == 200
    decisions = Counter[str]()
    for replica in pair:
        for decision in ("allowed", "rejected", "bypassed"):
            decisions[decision] += int(replica.metrics().value("rate_limit_decisions_total", decision=decision))
    assert decisions == {"allowed": LIMIT, "rejected": LIMIT, "bypassed": 0}


def test_the_limit_holds_while_a_deployment_changes_the_limits(start: Start) -> None:
    """The counters of a replica must be valid for a replica with other limits."""
    (old,), (new,) = start(1, RATE_LIMIT="20/hour"), start(1, RATE_LIMIT="1000/minute;20/hour")
    with httpx.Client(timeout=5) as client:
        answers = [client.get(f"{(old, new)[number % 2].url}/tasks").status_code for number in range(40)]
    assert answers == [200] * 20 + [429] * 20


def test_a_forged_client_address_does_not_evade_the_limit(start: Start) -> None:
    (replica,) = start(1, RATE_LIMIT="5/hour")
    with httpx.Client(base_url=replica.url, timeout=5) as client:
        forged = [client.get("/tasks", headers={"X-Forwarded-For": f"203.0.113.{each}"}) for each in range(10)]
    assert [answer.status_code for answer in forged] == [200] * 5 + [429] * 5


def test_the_client_address_comes_from_a_trusted_proxy(start: Start) -> None:
    (replica,) = start(1, RATE_LIMIT="5/hour", TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8")
    with httpx.Client(base_url=replica.url, timeout=5) as client:

        def statuses(forwarded: Callable[[int], str]) -> list[int]:
            headers = [{"X-Forwarded-For": forwarded(each)} for each in range(7)]
            return [client.get("/tasks", headers=each).status_code for each in headers]

        used_up = [200] * 5 + [429] * 2
        assert statuses(lambda _: "203.0.113.1") == used_up
        # addresses that the client itself sent are to the left, and are ignored
        assert statuses(lambda each: f"198.51.100.{each}, 203.0.113.2") == used_up
        assert statuses(lambda each: f"198.51.100.{each}, 203.0.113.3, 10.1.2.3") == used_up
        # and it does not use up another client's limit
        assert client.get("/tasks", headers={"X-Forwarded-For": "198.51.100.1"}).status_code == 200
        # an IPv6 client is its whole /64
        assert statuses(lambda each: f"2001:db8::{each}") == used_up


@pytest.mark.case("client address")
@pytest.mark.parametrize(
    "written",
    [
        ("203.0.113.9:50001", "203.0.113.9:50002", "203.0.113.9", "::ffff:203.0.113.9", "[::ffff:203.0.113.9]:443"),
        ("[2001:db8::1]:443", "[2001:db8::1]", "2001:db8::2", "2001:0DB8:0::3", "2001:db8::1%eth0"),
    ],
)
def test_every_spelling_of_a_client_address_shares_one_counter(start: Start, written: tuple[str, ...]) -> None:
    (replica,) = start(1, RATE_LIMIT="5/hour", TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8")
    with httpx.Client(base_url=replica.url, timeout=5) as client:

        def status(address: str) -> int:
            # a trusted proxy's address may have each of these forms
            return client.get("/tasks", headers={"X-Forwarded-For": f"{address}, 10.1.2.3:4000"}).status_code

        assert [status(each) for each in (*written, *written)] == [200] * 5 + [429] * 5


def test_the_ipv6_prefix_of_a_client_is_configurable(start: Start) -> None:
    (replica,) = start(1, RATE_LIMIT="1/hour", TRUSTED_PROXIES="127.0.0.1", RATE_LIMIT_IPV6_PREFIX="56")
    with httpx.Client(base_url=replica.url, timeout=5) as client:
        addresses = ("2001:db8:0:100::1", "2001:db8:0:1ff::1", "2001:db8:0:200::1")
        answers = [client.get("/tasks", headers={"X-Forwarded-For": each}).status_code for each in addresses]
    assert answers == [200, 429, 200]


def test_several_limits_hold_at_once(start: Start) -> None:
    (replica,) = start(1, RATE_LIMIT="100/hour;4/minute")
    with httpx.Client(base_url=replica.url, timeout=5) as client:
        answers = [client.get("/tasks") for _ in range(6)]
    # a new minute may begin while they are sent, which allows some more
    assert answers[0].headers["ratelimit-policy"] == '"100-per-1-hour";q=100;w=3600, "4-per-1-minute";q=4;w=60'
    assert 4 <= [answer.status_code for answer in answers].count(200) < 6
    assert '"4-per-1-minute"' in answers[-1].headers["ratelimit"]
    # a rejected request is not counted against the other limit
    assert replica.metrics().value("rate_limit_decisions_total", decision="rejected") >= 1


def test_the_limit_also_holds_in_one_process(tmp_path: Path) -> None:
    with Replica(tmp_path, RATE_LIMIT="5/hour") as replica, httpx.Client(base_url=replica.url) as client:
        answers = [client.get("/tasks") for _ in range(8)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
        assert client.get("/health").status_code == 200
        assert int(answers[-1].headers["retry-after"]) >= 1


def test_the_default_is_the_guides_limit(tmp_path: Path) -> None:
    with Replica(tmp_path, RATE_LIMIT="") as replica:
        policy = httpx.get(f"{replica.url}/tasks").headers["ratelimit-policy"]
    assert policy == '"100-per-15-minute";q=100;w=900'
