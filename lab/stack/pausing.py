"""Pauses pods on Kubernetes with SIGSTOP, from a shell in them.

A process cannot stop the first process of its own PID namespace. Therefore only pods with `shareProcessNamespace: true`
can be paused: their first process is the pod's sandbox. All other processes of such a pod are stopped, so it must have
a single container. A pod that stays paused is restarted by its liveness probe, and then runs again.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from lab.stack.native import StackError

# the container id of a paused pod: a container that was restarted since is not paused
PAUSED = "glasshouse/paused"
# `-1` is every process in the PID namespace except the first one and the shell itself
SIGNALS = {"pause": "STOP", "resume": "CONT"}
END_SECONDS = 20.0
# a stutter ends by itself after this time
LONGEST_SECONDS = 1800.0

Pod = Mapping[str, Any]


def act(kubectl: Callable[..., str], action: str, part: str, pods: Sequence[Pod]) -> None:
    """Pauses or resumes all pods of a part. Raises `StackError`."""
    for pod in pods:
        name, container = _only_container(action, part, pod)
        # marked first and unmarked last, so that a pod is never paused without being shown as paused
        if action == "pause":
            kubectl("annotate", "pod", name, f"{PAUSED}={_container_id(pod)}", "--overwrite")
        kubectl("exec", name, "--container", container, "--", "sh", "-c", f"kill -{SIGNALS[action]} -1")
        if action == "resume":
            kubectl("annotate", "pod", name, f"{PAUSED}-")


def is_paused(pod: Pod) -> bool:
    """Whether this pod's container was paused, and is still the same one."""
    marked = pod["metadata"].get("annotations", {}).get(PAUSED)
    return bool(marked) and marked == _container_id(pod)


@contextmanager
def stuttering(
    command: Callable[..., list[str]], parts: Mapping[str, Sequence[Pod]], every: float, pause: float
) -> Iterator[None]:
    """Pauses the pods of parts for `pause` seconds, lets them run for `every` seconds, and so on, during the block.

    One kubectl per pod starts a loop in the pod, because a kubectl for each signal would be too slow. The loop ends
    when its standard input is closed, so also when this process or kubectl is killed. Raises `StackError`.
    """
    with ExitStack() as stack:
        for part, pod in [(part, pod) for part, pods in parts.items() for pod in pods]:
            name, container = _only_container("stutter", part, pod)
            inside = ["sh", "-c", stutter_script(every, pause)]
            child = subprocess.Popen(
                command("exec", "--stdin", name, "--container", container, "--", *inside),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            stack.callback(_end, part, child)
        yield


def stutter_script(every: float, pause: float) -> str:
    """A shell script that stops and continues all other processes until its standard input is closed.

    The loop also stops the shell that waits for the end, so that shell ends the loop only while the processes run.
    """
    times = round(LONGEST_SECONDS / (every + pause))
    step = f"kill -STOP -1; sleep {pause:g}; kill -CONT -1; sleep {every:g}"
    loop = f"n=0; while [ $n -lt {times} ]; do {step}; n=$((n + 1)); done"
    return f"({loop}) </dev/null & while read -r _; do :; done; kill $!; kill -CONT -1"


def _end(part: str, child: "subprocess.Popen[bytes]") -> None:
    ended_early = child.poll() is not None
    try:
        _, said = child.communicate(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return
    if ended_early:
        raise StackError(f"cannot stutter {part}: {said.decode(errors='replace').strip() or 'kubectl has ended'}")


def _only_container(action: str, part: str, pod: Pod) -> tuple[str, str]:
    """Names of the pod and of its container. Raises `StackError` if it cannot be paused."""
    spec = pod["spec"]
    if not spec.get("shareProcessNamespace") or len(spec["containers"]) != 1:
        raise StackError(
            f"cannot {action} {part}: on Kubernetes this needs a pod of a single container with "
            "`shareProcessNamespace: true`; kill, restart, stop and start work"
        )
    return str(pod["metadata"]["name"]), str(spec["containers"][0]["name"])


def _container_id(pod: Pod) -> str:
    return "".join(str(each.get("containerID", "")) for each in pod.get("status", {}).get("containerStatuses", []))
