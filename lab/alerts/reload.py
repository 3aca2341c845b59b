"""`glasshouse reload`: applies changed rules, thresholds and routes to the running stack."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import httpx

from lab.alerts.faults import faults
from lab.alerts.rules import rule_files, stale_files, write_rules
from lab.alerts.thresholds import ALERTS
from lab.programs import run_program
from lab.prometheus import Prometheus, PrometheusError, well_formed
from lab.settings import ROOT, START, STOP, LabSettings, SettingError, load_settings
from lab.stack import kubernetes
from lab.stack.native import StackError, alertmanager_config
from lab.stack.supervisor import Supervisor
from lab.stack.up import HOME

# a changed rule takes effect with its next evaluation, at most five seconds after the reload
WAIT_SECONDS = 8.0
TOOL_SECONDS = 60.0
# name and labels of a rule → its expression and `for`
Rules = Mapping[str, str]


class ReloadError(Exception):
    """The change was refused; the message has the reason. The previous rules are still in force."""


@click.command("reload")
@click.option(
    "--dry-run", is_flag=True, help="Check everything and print which rule files would change, but change nothing."
)
def reload(dry_run: bool) -> None:
    """Apply changed alert rules, thresholds and routes to the running stack, and print what changed.

    Everything is checked before anything is changed: thresholds against the catalog, rules with promtool and routes
    with amtool, if these are installed. Dashboards mark a changed threshold with its old and new value.

    If Prometheus or Alertmanager still refuses the change, the previous files are restored and loaded again.

    Exit status: 0 done, 1 the change was refused and the previous rules are in force, 2 the stack does not answer.
    """
    try:
        settings = load_settings()
        with Prometheus(settings.url("prometheus")) as prometheus:
            before = rules_in_force(prometheus)
            check(settings)
            if dry_run:
                for name in stale_files() or ["no file"]:
                    click.echo(f"would change  {name}")
                return
            put_in_force(settings)
            _await_evaluation(prometheus)
            lines = list(changes(before, rules_in_force(prometheus)))
    except ReloadError as error:
        click.echo(f"glasshouse reload: {error}", err=True)
        raise SystemExit(1) from error
    except (PrometheusError, SettingError, httpx.HTTPError) as error:
        click.echo(f"glasshouse reload: {error}; is the stack up? {START} starts it", err=True)
        raise SystemExit(2) from error
    for line in lines or ["no rule changed"]:
        click.echo(line)


def check(settings: LabSettings) -> None:
    """Checks the change without applying it. Raises `ReloadError` with all errors."""
    refused = list(faults(with_files=False))
    if refused:
        raise ReloadError("\n".join(refused))
    with tempfile.TemporaryDirectory() as made:
        rules = [Path(made) / name for name in rule_files()]
        for path, text in zip(rules, rule_files().values(), strict=True):
            path.write_text(text, encoding="utf-8")
        routes = Path(made) / "alertmanager.yml"
        routes.write_text(alertmanager_config(settings), encoding="utf-8")
        recorded = sorted((ROOT / "observability/prometheus/rules").glob("*.yml"))
        _ask("promtool", "check", "rules", *map(str, [*rules, *recorded]))
        _ask("amtool", "check-config", str(routes))


def _ask(tool: str, *arguments: str) -> None:
    """Runs a tool if it is installed. Raises `ReloadError` if it reports an error."""
    found = shutil.which(tool)
    if found is None:
        click.echo(f"{tool} is not installed: its checks are skipped", err=True)
        return
    try:
        done = run_program([found, *arguments], timeout=TOOL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ReloadError(f"{tool} does not answer within {error.timeout:g} s") from error
    if done.returncode:
        raise ReloadError(f"{tool}: {(done.stderr or done.stdout).strip()}")


def rules_in_force(prometheus: Prometheus) -> Rules:
    """All rules that Prometheus has loaded: expression and, for an alert, its `for`. Raises `PrometheusError`."""
    found = prometheus.get("rules")
    with well_formed(prometheus.url):
        return {_name(rule): _meaning(rule) for group in found["groups"] for rule in group["rules"]}


def changes(before: Rules, after: Rules) -> Iterator[str]:
    """The differences, one line per rule."""
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None:
            yield f"new      {name}: {new}"
        elif new is None:
            yield f"removed  {name}"
        elif old != new:
            yield f"changed  {name}: {old} → {new}"


def _name(rule: Mapping[str, Any]) -> str:
    labels = ", ".join(f'{key}="{value}"' for key, value in sorted(rule.get("labels", {}).items()))
    return f"{rule['name']}{{{labels}}}" if labels else str(rule["name"])


def _meaning(rule: Mapping[str, Any]) -> str:
    expression = " ".join(rule["query"].split())
    return f"{expression} for {rule['duration']:g} s" if rule.get("duration") else expression


def put_in_force(settings: LabSettings, folder: Path = ALERTS) -> None:
    """Writes the generated files and reloads Prometheus and Alertmanager.

    Raises `ReloadError` if either refuses; then the previous files are restored and loaded again.
    """
    before = _generated(folder)
    try:
        write_rules(folder)
        # the native stack uses a copy of alertmanager.yml with the address of its alert inbox
        if kubernetes.chosen_stack() is None and Supervisor(HOME).is_running():
            _routes().write_text(alertmanager_config(settings), encoding="utf-8")
        _reload_both(settings)
    except ReloadError as error:
        _put_back(before, folder)
        try:
            _reload_both(settings)
        except ReloadError as again:
            raise ReloadError(
                f"{error}\nthe generated files were restored, but: {again}; {STOP} and start the stack again"
            ) from error
        raise ReloadError(
            f"{error}\nthe generated files were restored and are in force;"
            " your change is still in alerts/thresholds.yml or alerts/catalog"
        ) from error


def _routes() -> Path:
    return HOME.config / "alertmanager.yml"


def _generated(folder: Path) -> dict[Path, str]:
    """The files that a reload writes, with their content."""
    files = [*(folder / "rules").glob("*.yml"), _routes()]
    return {file: file.read_text(encoding="utf-8") for file in files if file.exists()}


def _put_back(before: Mapping[Path, str], folder: Path) -> None:
    after = _generated(folder)
    for file in after.keys() - before.keys():
        file.unlink()
    for file, text in before.items():
        if after.get(file) != text:
            file.write_text(text, encoding="utf-8")


def _reload_both(settings: LabSettings) -> None:
    servers = ["Prometheus", "Alertmanager"]
    if (stack := kubernetes.chosen_stack()) is not None:
        try:
            stack.send_rules()
        except StackError as error:
            raise ReloadError(str(error)) from error
        # the name of its ConfigMap depends on the content, so a change causes a rollout instead of a reload
        servers.remove("Alertmanager")
    for name in servers:
        try:
            answer = httpx.post(f"{settings.url(name.lower())}/-/reload", timeout=10, trust_env=False)
        except httpx.HTTPError as error:
            raise ReloadError(f"{name} does not answer: {error}") from error
        if answer.is_error:
            raise ReloadError(f"{name} refused: {answer.text.strip()}")


def _await_evaluation(prometheus: Prometheus) -> None:
    """Waits until all thresholds have been evaluated after the reload."""
    began, deadline = time.time(), time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        newest = prometheus.value("min(timestamp(alert_threshold))")
        if newest >= began:
            return
        time.sleep(0.2)
