"""Real servers for tests: on free ports, in directories of their own, gone when the test is."""

from tests.servers.conditions import until, wait_for
from tests.servers.gateway import Gateway
from tests.servers.load import Load, Outcome
from tests.servers.otlp import OtlpReceiver, ReceivedSpan
from tests.servers.postgres import Postgres
from tests.servers.process import Process, free_port
from tests.servers.redis_cluster import RedisCluster
from tests.servers.relay import Relay
from tests.servers.replica import Replica, Samples, environment, replicas
from tests.servers.wire import Wire

__all__ = [
    "Gateway",
    "Load",
    "OtlpReceiver",
    "Outcome",
    "Postgres",
    "Process",
    "ReceivedSpan",
    "RedisCluster",
    "Relay",
    "Replica",
    "Samples",
    "Wire",
    "environment",
    "free_port",
    "replicas",
    "until",
    "wait_for",
]
