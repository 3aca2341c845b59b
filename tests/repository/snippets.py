"""The snippets of the documentation: fenced blocks, and the commands in them and in the text.

What happens to each command of a block is in one of three tables: it runs alone, or on a running stack, or not at all,
for a reason. Every command has an entry, and every entry is in the documentation; test_snippets.py checks both.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("alerts/**/*.md")),
    *sorted(ROOT.glob("examples/*.md")),
]
PROGRAMS = "glasshouse|make|python|python3|docker compose|kubectl|curl|pytest|promtool|git|prometheus"
_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(rf"`((?:\.venv/bin/)?(?:{PROGRAMS}) [^`\n]+)`")
_ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=.*", re.DOTALL)

# command → exit status, in this order in a folder with copies of the files of alerts/ that they name
RUN_ALONE = {
    "glasshouse drill --list": 0,
    "glasshouse runs": 0,
    "sed -i '/^LatencyP99High:/s/threshold: [0-9.]*/threshold: 0.005/' alerts/thresholds.yml": 0,
    "sed -i '/^LatencyP99High:/s/threshold: [0-9.]*/threshold: 50/' alerts/thresholds.yml": 0,
    "mkdir -p runs": 0,
    "export LOAD_USER=$(id -u):$(id -g)": 0,
    "xz -dc alerts/recordings/drill-RedisNodeDown.om.xz | less": 0,
    'xz -dc alerts/recordings/drill-RedisNodeDown.om.xz | grep -v "^# ABOUT" > r.om': 0,
    "promtool tsdb create-blocks-from openmetrics r.om data/": 0,
}

# command → possible exit statuses, on a stack without load and without faults
RUN_ON_STACK = {
    # 1 while an alert fires: an earlier test may have restarted a replica
    "glasshouse alerts": {0, 1},
    "glasshouse reload --dry-run": {0},
    "glasshouse status | grep redis-1": {0},
    "glasshouse tune": {0},
    "glasshouse tune --last 3d": {0},
    "glasshouse tune LatencyP99High --threshold 0.5 --for 1m --floor 5": {0},
    "glasshouse tune LatencyP99High --propose": {0},
    # 2: no shadow runs
    "glasshouse tune --shadows": {2},
    "curl -s --retry 5 --retry-connrefused http://127.0.0.1:5000/tasks": {0},
}

# reason → commands
NOT_RUN = {
    "starts or stops a stack of this machine, as tests/stack does": (
        *(
            "make demo",
            "make up",
            "make up venv",
            "make native",
            "make venv",
            "make down",
            "make load",
            "make load PROFILE=spike",
        ),
        *("make k8s-up", "make k8s-down", "docker compose up -d --no-recreate --scale todo=5"),
    ),
    "runs the tests, or takes minutes by itself in CI": ("make lint", "make test", "make test-all", "make docs"),
    "takes minutes; tests/lab/load and tests/stack run shorter loads": (
        "glasshouse load",
        "glasshouse load steady --time 10m",
        "glasshouse load steady --rate 100 --time 5m",
        "glasshouse load ./mine.toml",
        "glasshouse load steady --rate 3000 --workers auto",
        "glasshouse load steady --rate 1000 --workers 3",
        'glasshouse load steady --time 60s --threshold "p99<250ms" --abort-on "errors>20% for 10s" '
        "--junit load.xml --json load.json",
    ),
    "needs runs of a load; tests/lab/report runs it": (
        "glasshouse report",
        "glasshouse report A B",
        "glasshouse report 20261126-154127-smoke-1c20 20261126-154216-smoke-77ab",
    ),
    "tests/stack/test_live_check.py runs it, with the shorter range that a new stack has": ("glasshouse check",),
    "needs a second machine": (
        "glasshouse load steady --rate 1000 --remote-workers 2",
        "glasshouse worker 192.0.2.10 --allow-remote",
    ),
    "causes a fault, from which other tests of the stack would suffer; tests/stack/test_drills.py runs drills": (
        "glasshouse pause redis-1",
        "glasshouse resume redis-1",
        "glasshouse drill RedisNodeDown",
        "glasshouse drill LatencyP99High",
        "glasshouse drill --all",
        "glasshouse drill ServiceDown --hold 2m",
    ),
    "changes the rules of Prometheus; tests/lab/alerts/test_reload.py runs it on other servers": (
        "glasshouse reload",
        "make reload",
    ),
    "rewrites files of the working tree; tests/kubernetes/test_drift.py compares them with what it writes": (
        "make manifests",
    ),
    "changes the rules of Prometheus; tests/lab/alerts/test_shadow_alerts.py checks the rules of a shadow": (
        "glasshouse tune LatencyP99High --threshold 0.5 --shadow 1d",
    ),
    "needs changes since the branch main; tests/lab/alerts/test_tune.py runs it": ("glasshouse tune --since main",),
    "discards changes of the working tree": ("git checkout alerts/thresholds.yml",),
    "watches a stack for 20 minutes": ("python -m benchmarks.healthy",),
    "runs until it is stopped; the testbed starts it for many tests": ("python -m service",),
    "tests/examples runs it": (
        "python examples/instrument.py",
        "curl http://127.0.0.1:8100/hello/you",
        "curl http://127.0.0.1:8100/metrics",
        "prometheus --config.file=examples/prometheus.yml --storage.tsdb.path=/tmp/example "
        "--web.listen-address=127.0.0.1:9190",
        "glasshouse view --prometheus http://127.0.0.1:9190",
        "glasshouse tune --rules examples/alerts.yml --alert HighErrorRate --replace '0.05=0.02' "
        "--prometheus http://127.0.0.1:9190",
    ),
    "needs a Prometheus and rules of the reader; the same with those of examples/ runs in tests/examples": (
        "glasshouse tune --rules their.yml --alert HighErrorRate --replace '0.05=0.02' "
        "--prometheus http://prometheus:9090 --last 3d",
    ),
    "needs a Kubernetes cluster; tests/kubernetes and tests/lab/stack use a fake kubectl": (
        "glasshouse --kubernetes load",
        "glasshouse --kubernetes load steady --rate 1000 --workers 4",
        "kind create cluster",
        "kind delete cluster",
        "kubectl -n glasshouse port-forward svc/gateway 5000 &",
        "kubectl -n glasshouse port-forward svc/grafana 3000 &",
        "kubectl -n glasshouse port-forward svc/desk 8060 &",
        "helm install kube-prometheus-stack oci://ghcr.io/prometheus-community/charts/kube-prometheus-stack "
        "--namespace monitoring --create-namespace",
        "kubectl apply -k deploy/kubernetes/overlays/operator",
        "kubectl -n glasshouse exec deploy/redis-cluster -- sh -c …",
    ),
    "needs a running Compose project with built images": (
        "docker compose --profile load run --rm --use-aliases load spike",
        "docker compose --profile load up -d --scale load-worker=3 load-worker",
        "docker compose --profile load run --rm --use-aliases load steady --rate 500 --remote-workers 3",
        "docker compose --profile load stop load-worker",
    ),
}


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command, as in the shell and as words, without the assignments before it."""

    where: str
    text: str
    words: tuple[str, ...]
    # from the text of a page, where it may lack its arguments, and not from a block
    is_inline: bool = False


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, indented ones too."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        lines = found["text"].splitlines()
        plain = "\n".join(line.removeprefix(found["indent"]) for line in lines) + "\n"
        yield Block(page, text.count("\n", 0, found.start()) + 1, found["language"], plain)


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of all pages in these languages."""
    return [block for page in PAGES for block in blocks(page) if block.language in languages]


def scripts() -> Iterator[tuple[str, str]]:
    """The place and text of each shell script: `sh` blocks, steps of workflows, and lines after a prompt in output."""
    for block in all_blocks("sh"):
        yield str(block), block.text
    for block in all_blocks("yaml"):
        for document in yaml.safe_load_all(block.text):
            for job in (document.get("jobs") or {}).values():
                for step in job["steps"]:
                    if "run" in step:
                        yield str(block), step["run"]
    for block in all_blocks("", "text"):
        for line in block.text.splitlines():
            if line.startswith("$ "):
                yield str(block), line.removeprefix("$ ")


def statements(script: str) -> Iterator[str]:
    """The statements of a shell script, without comments; a statement with a quoted line break is one."""
    pending = ""
    for line in script.replace("\\\n", " ").splitlines():
        pending += line
        try:
            words = _split(pending)
        except ValueError:
            # an open quotation mark
            pending += "\n"
            continue
        statement, pending = pending, ""
        if "\n" in statement:
            yield statement
        elif words:
            plain = re.sub(r"(^| +)#.*", "", statement)
            yield from (re.sub(r" +", " ", part).strip() for part in re.split(r" && | ; ", plain))


def commands() -> list[Command]:
    """The commands of all blocks; the parts of a pipeline are one command."""
    found = []
    for where, script in scripts():
        for statement in statements(script):
            text = re.sub(r"(?:^|(?<= ))\.venv/bin/", "", statement)
            head, quote, _ = text.partition("sh -c '")
            words = tuple(_split(text))
            while words and _ASSIGNMENT.fullmatch(words[0]):
                text, words = text.removeprefix(text.split(" ", 1)[0]).strip(), words[1:]
            if words:
                found.append(Command(where, f"{head}sh -c …" if quote else text, words))
    return found


def inline_commands() -> list[Command]:
    """The commands in the text of all pages."""
    found = []
    for page in PAGES:
        for inline in _INLINE.findall(_BLOCK.sub("", page.read_text())):
            text = inline.removeprefix(".venv/bin/")
            found.append(Command(str(page.relative_to(ROOT)), text, tuple(_split(text)), is_inline=True))
    return found


def assignments() -> Iterator[tuple[str, dict[str, str]]]:
    """The environment variables that the scripts set: those of each statement."""
    for where, script in scripts():
        for statement in statements(script):
            words = _split(statement.removeprefix("export "))
            values = {}
            for word in words:
                if not _ASSIGNMENT.fullmatch(word):
                    break
                name, _, value = word.partition("=")
                values[name] = value
            if values:
                yield where, values


def _split(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    return list(lexer)
