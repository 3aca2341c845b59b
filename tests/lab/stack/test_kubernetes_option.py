"""`glasshouse --kubernetes`, with a fake kubectl that fails on unknown commands."""

import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from lab.alerts.drills import causes
from lab.alerts.drills.causes import caused
from lab.alerts.drills.definition import Cause
from lab.cli import main
from lab.load.cold import empty_cache
from lab.load.errors import CannotRunError
from lab.settings import LabSettings, load_settings
from lab.stack.kubernetes import NAMESPACE, Kubectl, KubernetesStack, chosen, forwarded
from lab.stack.load_jobs import GATEWAY
from lab.stack.native import StackError
from lab.stack.pausing import stutter_script
from testbed import fake_kubectl
from testbed.conditions import wait_for
from testbed.fake_cluster import FakeCluster


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = FakeCluster(tmp_path)
    monkeypatch.setenv("PATH", fake.path)
    return fake


@pytest.fixture
def stack() -> KubernetesStack:
    return KubernetesStack(Kubectl("glasshouse"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("way", [["--kubernetes"], ["--kubernetes", "glasshouse"], ["--kubernetes=glasshouse"]])
def test_status_uses_the_same_part_names_as_the_other_stacks(cluster: FakeCluster, way: list[str]) -> None:
    done = run(*way, "status")
    assert done.exit_code == 0, done.output
    lines = dict(line.split(maxsplit=1) for line in done.output.splitlines())
    numbered = [f"todo-{n}" for n in (1, 2, 3)] + [f"redis-{n}" for n in range(1, 7)]
    assert sorted(lines) == sorted([*numbered, "desk", "gateway", "postgres", "prometheus"])
    assert "(redis-0, 1 of 1 ready, 0 restarts)" in lines["redis-1"]
    assert lines["gateway"].count("running") == 2


def test_unsupported_commands_and_an_unknown_namespace_are_rejected(cluster: FakeCluster) -> None:
    done = run("--kubernetes", "elsewhere", "status")
    assert (done.exit_code, 'namespaces "elsewhere" not found' in done.output) == (2, True)
    assert run("--kubernetes", "up").exit_code == 2


def test_killing_a_replica_deletes_its_pod_and_killing_another_part_deletes_all_its_pods(
    cluster: FakeCluster, stack: KubernetesStack
) -> None:
    before = cluster.pods("todo")
    stack.act("kill", "todo-1")
    assert cluster.pods("todo")[:2] == before[1:]
    assert len(cluster.pods("todo")) == 3
    both = cluster.pods("gateway")
    stack.act("kill", "gateway")
    assert not set(both) & set(cluster.pods("gateway"))
    stack.act("restart", "redis-2")
    assert cluster.calls("delete")[-1] == "delete pod redis-1 --wait=true"


def test_stop_and_start_of_a_replica_affect_the_named_one(cluster: FakeCluster, stack: KubernetesStack) -> None:
    before = cluster.pods("todo")
    stack.act("stop", "todo-2")
    assert cluster.pods("todo") == [before[0], before[2]]
    assert stack.parts()["todo-3"] == "stopped"
    for part in ("todo-1", "todo-3", "todo-2"):
        stack.act("stop", part)
    assert cluster.pods("todo") == []
    assert [stack.parts()[f"todo-{n}"] for n in (1, 2, 3)] == ["stopped"] * 3
    for part in ("todo-1", "todo-2", "todo-3", "todo-3"):
        stack.act("start", part)
    assert len(cluster.pods("todo")) == 3


def test_a_stopped_part_comes_back_with_as_many_pods(cluster: FakeCluster, stack: KubernetesStack) -> None:
    stack.act("stop", "gateway")
    assert (cluster.pods("gateway"), stack.parts()["gateway"]) == ([], "stopped")
    stack.act("stop", "gateway")
    stack.act("start", "gateway")
    assert len(cluster.pods("gateway")) == 2


def test_a_cold_run_sends_flushall_to_every_node(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAMESPACE, "glasshouse")
    empty_cache(LabSettings(), GATEWAY)
    assert sorted(cluster.calls("exec")) == [
        f"exec redis-{n} --container redis -- redis-cli FLUSHALL" for n in range(6)
    ]
    cluster.set(objects=[each for each in cluster.state["objects"] if not each["metadata"]["name"].startswith("redis")])
    with pytest.raises(CannotRunError, match="no Redis Cluster to empty"):
        empty_cache(LabSettings(), GATEWAY)


def test_a_paused_part_is_shown_as_paused_until_it_is_resumed_or_its_container_restarts(
    cluster: FakeCluster, stack: KubernetesStack
) -> None:
    for part in ("redis-2", "postgres"):
        stack.act("pause", part)
    assert cluster.state["stopped"] == ["postgres-0", "redis-1"]
    assert stack.parts()["redis-2"] == "paused (redis-1, 1 of 1 ready, 0 restarts)"
    stack.act("resume", "redis-2")
    assert cluster.state["stopped"] == ["postgres-0"]
    assert stack.parts()["redis-2"].startswith("running")
    cluster.restart_container("postgres-0")
    assert stack.parts()["postgres"].startswith("running")
    # what is not paused can be resumed
    stack.act("resume", "postgres")
    assert "annotate pod postgres-0 glasshouse/paused-" in cluster.calls("annotate")


def test_a_drill_resumes_the_paused_part_also_after_ctrl_c(cluster: FakeCluster, stack: KubernetesStack) -> None:
    nodes = [f"redis-{n}" for n in range(1, 7)]
    with suppress(KeyboardInterrupt), caused(stack, Cause("pause", nodes), LabSettings()):
        assert len(cluster.state["stopped"]) == 6
        assert {state.split()[0] for part, state in stack.parts().items() if part in nodes} == {"paused"}
        raise KeyboardInterrupt
    assert cluster.state["stopped"] == []
    assert not [state for state in stack.parts().values() if state.startswith("paused")]


def test_a_drill_ends_if_the_liveness_probe_restarted_the_paused_container(
    cluster: FakeCluster, stack: KubernetesStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causes, "RETRY_SECONDS", 0.01)
    with caused(stack, Cause("pause", ["redis-1"]), LabSettings()):
        # between the end of the old container and the start of the next one no shell can be started
        cluster.restart_container("redis-0")
        cluster.set(failing=1)
    assert stack.parts()["redis-1"].startswith("running")
    # a container that still is the same one is resumed at the next attempt
    with caused(stack, Cause("pause", ["redis-1"]), LabSettings()):
        cluster.set(failing=2)
    assert cluster.state["failing"] == 0
    assert stack.parts()["redis-1"].startswith("running")


def test_a_stutter_is_a_loop_in_the_pod_that_ends_with_the_drill(cluster: FakeCluster, stack: KubernetesStack) -> None:
    cause = Cause("stutter", ["todo-1", "todo-3"], every=0.4, pause=0.6)
    with caused(stack, cause, LabSettings()):
        wait_for(lambda: len(cluster.calls("exec --stdin")) == 2, what="two loops")
    assert not _running("--stdin")
    script = stutter_script(0.4, 0.6)
    assert all(each.endswith(script) for each in cluster.calls("exec --stdin"))
    cluster.set(failing=9)
    loop = stack.stuttering(["todo-1"], 0.4, 0.6)
    loop.__enter__()
    wait_for(lambda: len(cluster.calls("exec --stdin")) == 3 and not _running("--stdin"), what="the end of the loop")
    with pytest.raises(StackError, match=r"cannot stutter todo-1: .*not running"):
        loop.__exit__(None, None, None)
    with pytest.raises(StackError, match="cannot stutter todo-9: it has no pod"):
        stack.stuttering(["todo-1", "todo-9"], 0.4, 0.6)


def _running(word: str) -> list[psutil.Process]:
    found = []
    for each in psutil.Process().children(recursive=True):
        # one that ends just now, or has ended and was not waited for yet
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            found += [each] if word in each.cmdline() else []
    return found


@pytest.mark.parametrize(
    ("action", "part", "said"),
    [("pause", "gateway", "shareProcessNamespace"), ("stop", "redis-1", "StatefulSet")],
)
def test_actions_that_kubernetes_cannot_do_are_rejected_with_the_reason(
    cluster: FakeCluster, stack: KubernetesStack, action: str, part: str, said: str
) -> None:
    with pytest.raises(StackError, match=said):
        stack.act(action, part)
    assert not cluster.calls("scale")


def test_a_port_is_forwarded_again_after_its_pod_was_replaced_until_the_command_ends(cluster: FakeCluster) -> None:
    def children() -> list[psutil.Process]:
        # kubectl, and not the process that ends it
        return [each for each in _running("port-forward") if fake_kubectl.__file__ in each.cmdline()]

    with forwarded(Kubectl("glasshouse"), "prometheus") as port:
        assert port == 22001
        (first,) = children()
        first.kill()
        wait_for(lambda: len(cluster.calls("port-forward")) == 2, what="a second kubectl")
        assert cluster.calls("port-forward")[1].endswith("22001:9090")
        wait_for(lambda: [each.pid for each in children()] != [first.pid], what="its process")
    wait_for(lambda: not _running("port-forward"), what="the end of both")
    with pytest.raises(StackError, match='services "tempo" not found'):
        with forwarded(Kubectl("glasshouse"), "tempo"):
            pass


def test_a_forwarded_port_ends_with_a_command_that_is_killed(cluster: FakeCluster) -> None:
    forwards = (
        "import signal; from lab.stack.kubernetes import Kubectl, forwarded\n"
        "with forwarded(Kubectl('glasshouse'), 'prometheus'): signal.pause()"
    )
    command = subprocess.Popen([sys.executable, "-c", forwards])
    wait_for(lambda: len(_running("port-forward")) == 2, what="kubectl and the process that ends it")
    left = _running("port-forward")
    command.kill()
    command.wait()
    _, alive = psutil.wait_procs(left, timeout=20)
    assert alive == []


def test_the_forwarded_port_of_an_absent_optional_part_refuses_connections(cluster: FakeCluster) -> None:
    with chosen("glasshouse", ("prometheus", "tempo", "loki")):
        settings = load_settings()
        assert settings.prometheus_port == 22001
        for port in (settings.tempo_port, settings.loki_port):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 5)
    with pytest.raises(StackError, match='services "gateway" not found'):
        with chosen("glasshouse", ("gateway",)):
            pass


def test_the_rules_of_the_repository_are_sent_to_prometheus(
    cluster: FakeCluster, stack: KubernetesStack, root: Path
) -> None:
    stack.send_rules()
    configmaps = [each["metadata"] for each in cluster.state["objects"] if each["kind"] == "ConfigMap"]
    assert [each["labels"] for each in configmaps] == [{"a": "b"}] * 2
    files = cluster.state["files"]
    assert files["/etc/alerts/thresholds.yml"] == (root / "alerts/rules/thresholds.yml").read_text()
    assert files["/etc/prometheus/rules/http.yml"] == (root / "observability/prometheus/rules/http.yml").read_text()
