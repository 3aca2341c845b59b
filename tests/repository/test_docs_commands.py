"""Every command in the documentation is valid: names, options, values, files, routes and services exist."""

import functools
import importlib.util
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import pairwise, takewhile
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml

from benchmarks.__main__ import PARTS as BENCHMARKS
from lab.alerts.catalog import load_alerts
from lab.cli import main
from lab.load.definition import define
from lab.load.errors import CannotRunError
from lab.settings import LabSettings
from lab.stack import native
from lab.stack.native import Home
from service.health import health_routes
from service.openapi import document
from service.settings import Settings, load_settings
from service.tasks.routes import task_routes
from tests.repository.snippets import PAGES, ROOT, Command, assignments, commands, inline_commands

# words that stand for a value → a valid one
PLACEHOLDERS = {
    "…": "1",
    "ALERT": "RedisNodeDown",
    "COMMAND": "status",
    "PROFILE": "steady",
    "SERVICE": "todo",
    "[NAMESPACE]": "glasshouse",
}
# the paths that the pages name of parts that have no OpenAPI document, by port
OTHER_PATHS = {
    3000: {"/"},
    3100: {"/"},
    3200: {"/"},
    4318: {"/"},
    8000: {"/schema"},
    8050: {"/", "/trace/TRACE_ID"},
    8060: {"/", "/faults.json", "/runbooks/RedisNodeDown"},
    8100: {"/hello/you", "/metrics"},
    9090: {"/", "/-/reload", "/rules", "/targets"},
    9093: {"/"},
    9190: {"/"},
}
FIELDS = {each.name for each in fields(Settings)}
URL = re.compile(r"https?://(?:127\.0\.0\.1|localhost)(?::\d+)[\w/.{}-]*|\blocalhost:\d+[\w/.{}-]*")


@functools.cache
def _services() -> frozenset[str]:
    return frozenset(yaml.safe_load((ROOT / "compose.yaml").read_text())["services"])


@functools.cache
def _parts() -> frozenset[str]:
    """The parts that `stop`, `pause` and similar commands know, of the native stack and of Docker's."""
    programs = native.programs(LabSettings(), Home(ROOT / ".stack"), {})
    replicas = {f"todo-{number}" for number in range(1, 4)}
    return frozenset({each.name for each in programs} | _services() | replicas | {"tempo"})


@functools.cache
def _alerts() -> frozenset[str]:
    return frozenset(alert.name for alert in load_alerts())


def _glasshouse(command: Command) -> str:
    words = [PLACEHOLDERS.get(each, each) for each in takewhile(lambda each: each != "|", command.words[1:])]
    try:
        with main.make_context("glasshouse", words) as context:
            name, sub, rest = main.resolve_command(context, [*context.protected_args, *context.args])
            assert sub is not None
            with sub.make_context(name, rest, parent=context) as parsed:
                return _values(parsed.params)
    except click.MissingParameter as error:
        return "" if command.is_inline else error.format_message()
    except click.BadOptionUsage as error:
        # such as `glasshouse tune --since`
        return "" if command.is_inline and "requires an argument" in error.format_message() else error.format_message()
    except click.UsageError as error:
        return error.format_message()


def _values(params: Mapping[str, object]) -> str:
    """What is wrong with values that the command itself looks up."""
    asked = [name for key in ("alert", "alerts") for name in _each(params.get(key)) if name]
    if unknown := [name for name in asked if name not in _alerts()]:
        return f"no alert {unknown[0]}"
    if (part := params.get("part")) and part not in _parts():
        return f"no part {part}"
    if (profile := params.get("profile")) and not str(profile).endswith(".toml"):
        try:
            define(str(profile))
        except CannotRunError as error:
            return str(error)
    return ""


def _each(value: object) -> Sequence[str]:
    return value if isinstance(value, tuple) else (str(value or ""),)


def _make(command: Command) -> str:
    done = subprocess.run(
        ["make", "--dry-run", *command.words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = [word.partition("=")[0] for word in command.words if "=" in word]
    makefile = (ROOT / "Makefile").read_text()
    unused = [f"{name} is not used in the Makefile" for name in names if f"$({name})" not in makefile]
    overlays = [word.partition("=")[2] for word in command.words if word.startswith("OVERLAY=")]
    missing = [f"no overlay {each}" for each in overlays if not (ROOT / "deploy/kubernetes/overlays" / each).is_dir()]
    return " ".join([done.stderr if done.returncode else "", *unused, *missing]).strip()


def _python(command: Command) -> str:
    first, *rest = command.words[1:]
    if first != "-m":
        return _missing_files([first])
    if rest[0] == "benchmarks" and rest[1:] and rest[1] not in BENCHMARKS:
        return f"no benchmark {rest[1]}"
    return "" if importlib.util.find_spec(rest[0]) else f"no module {rest[0]}"


def _missing_files(words: Sequence[str]) -> str:
    return " ".join(f"no file {word}" for word in words if not (ROOT / word).exists())


def _files(command: Command) -> str:
    """Words that look like a path of the repository; others are options, or files that the reader makes."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    words = [word.rpartition("=")[2] for word in command.words[1:]]
    return _missing_files([word for word in words if word.partition("/")[0] in folders and "/" in word.rstrip("/")])


def _docker(command: Command) -> str:
    words = [PLACEHOLDERS.get(each, each) for each in command.words[2:]]
    actions = ("down", "exec", "logs", "pause", "ps", "restart", "run", "start", "stop", "unpause", "up")
    action = next((each for each in words if each in actions), "")
    if not action:
        return "no action of docker compose"
    scaled = [words[number + 1].partition("=")[0] for number, each in enumerate(words[:-1]) if each == "--scale"]
    rest = [each for each in words[words.index(action) + 1 :] if not each.startswith("-") and "=" not in each]
    # what follows the service is its command
    named = rest[:1] if action in ("exec", "run") else rest
    return " ".join(f"no service {each}" for each in [*scaled, *named] if each not in _services())


def _curl(command: Command) -> str:
    return " ".join(filter(None, (_unknown_url(each) for each in command.words if "://" in each or ":" in each)))


@functools.cache
def _objects() -> dict[str, set[int]]:
    """The Kubernetes objects that commands name, as `svc/NAME` and `deploy/NAME`, with the ports of the services."""
    found: dict[str, set[int]] = {}
    short = {"Service": "svc", "Deployment": "deploy"}
    for file in (ROOT / "deploy/kubernetes").rglob("*.yaml"):
        for each in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader):
            if each and each.get("kind") in short and "metadata" in each:
                ports = {port["port"] for port in each.get("spec", {}).get("ports", [])}
                found.setdefault(f"{short[each['kind']]}/{each['metadata']['name']}", set()).update(ports)
    return found


def _kubectl(command: Command) -> str:
    words = command.words
    overlays = [after for word, after in pairwise(words) if word == "-k"]
    if "glasshouse" not in words:
        return _missing_files(overlays)
    named = [(word, after) for word, after in pairwise([*words, ""]) if re.match("(svc|deploy)/", word)]
    return " ".join(
        f"no {name} {port}"
        for name, port in named
        if name not in _objects() or (port.isdecimal() and int(port) not in _objects()[name])
    )


CHECKS: dict[str, Callable[[Command], str]] = {
    "glasshouse": _glasshouse,
    "make": _make,
    "python": _python,
    "docker": _docker,
    "curl": _curl,
    "kubectl": _kubectl,
    "pytest": _files,
    "promtool": _files,
    "prometheus": _files,
    "xz": _files,
    "git": _files,
}
# programs of others, of which nothing is checked
OTHERS = ("export", "helm", "kind", "mkdir", "sed")


def problem(command: Command) -> str:
    """What is wrong with a command; empty if nothing is."""
    program = command.words[0]
    if program in OTHERS:
        return ""
    return CHECKS[program](command) if program in CHECKS else f"unknown program {program}"


def _unknown_url(address: str) -> str:
    """Whether a URL of this machine has a port or a path that no part has."""
    url = urlsplit(address if "://" in address else f"http://{address}")
    path = url.path or "/"
    if url.port == LabSettings().gateway_port:
        return "" if path in ("/", "/schema", *_routes()) else f"no route {path}"
    return "" if path in OTHER_PATHS.get(url.port or 80, ()) else f"no part has {url.port} {path}"


@functools.cache
def _routes() -> frozenset[str]:
    unused: Any = None
    return frozenset(document([task_routes(unused), health_routes(unused)])["paths"])


def test_every_command_is_valid() -> None:
    found = [*commands(), *inline_commands()]
    assert len(found) > 200
    # each once, in a block if it is in one
    different = {each.text: each for each in reversed(found)}.values()
    assert [f"{each.where}: {each.text}: {said}" for each in different if (said := problem(each))] == []


def test_every_url_of_this_machine_has_a_port_and_path_of_a_part() -> None:
    found = [(page.name, each.rstrip(".")) for page in PAGES for each in URL.findall(page.read_text())]
    assert len(found) > 30
    assert [f"{page}: {url}: {said}" for page, url in found if (said := _unknown_url(url))] == []


def test_the_settings_in_front_of_commands_are_valid() -> None:
    # what OpenTelemetry reads itself is in a table of that page; LOAD_USER is for compose.yaml
    others = {*re.findall(r"^\| `(OTEL_\w+)", (ROOT / "docs/telemetry.md").read_text(), re.MULTILINE), "LOAD_USER"}
    for where, values in assignments():
        # raises for an invalid value
        load_settings({name: value.replace("…", "x") for name, value in values.items()})
        assert [name for name in values if name.lower() not in FIELDS and name not in others] == [], where


@pytest.mark.parametrize(
    "text",
    [
        "glasshouse nothing",
        "glasshouse tune --nothing",
        "glasshouse tune NoSuchAlert --propose",
        "glasshouse load steady --rate many",
        "glasshouse load nothing",
        'glasshouse load --threshold "fast"',
        "glasshouse pause redis-99",
        "glasshouse pause",
        "glasshouse --kubernetes load --nothing",
        "make nothing",
        "make load NOTHING=1",
        "make k8s-up OVERLAY=nothing",
        "python -m nothing",
        "python -m benchmarks nothing",
        "python examples/nothing.py",
        "docker compose up -d nothing",
        "docker compose up -d --scale nothing=3",
        "docker compose nothing",
        "curl -s localhost:5000/nothing",
        "curl http://127.0.0.1:9090/nothing",
        "kubectl apply -k deploy/kubernetes/overlays/nothing",
        "kubectl -n glasshouse port-forward svc/nothing 5000",
        "kubectl -n glasshouse port-forward svc/gateway 1",
        "pytest tests/nothing.py",
        "nothing",
    ],
)
def test_an_invalid_command_is_found(text: str) -> None:
    assert problem(Command("page.md", text, tuple(text.replace('"', "").split())))
