"""Real servers for tests: on free ports, in temporary directories, stopped at the end of the test."""

from testbed.conditions import until, wait_for
from testbed.gateway import Gateway
from testbed.load import Load, Outcome
from testbed.otlp import OtlpReceiver, ReceivedSpan
from testbed.postgres import Postgres
from testbed.process import Process, free_port
from testbed.redis_cluster import RedisCluster
from testbed.relay import Relay
from testbed.replica import Replica, Samples, environment, replicas
from testbed.wire import Wire

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
