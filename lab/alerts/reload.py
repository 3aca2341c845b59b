"""`glasshouse reload`: puts changed rules, thresholds and routes in force on the running stack."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import click
import httpx

from lab.alerts.faults import faults
from lab.alerts.rules import write_rules
from lab.prometheus import Prometheus, PrometheusError
from lab.settings import LabSettings, SettingError, load_settings
from lab.stack.native import alertmanager_config
from lab.stack.supervisor import Supervisor
from lab.stack.up import HOME

# a rule is in force with its first evaluation, five seconds at most after the reload
WAIT_SECONDS = 8.0
# name and labels of a rule → what it says
Rules = Mapping[str, str]


class ReloadError(Exception):
    """The change was refused; the message says by whom and why. What was in force still is."""


@click.command("reload")
def reload() -> None:
    """Put changed alert rules, thresholds and routes in force on the running stack, and say what changed.

    Exit status: 0 done, 1 the change was refused and nothing changed, 2 the stack does not answer.
    """
    try:
        settings = load_settings()
        with Prometheus(settings.url("prometheus")) as prometheus:
            before = rules_in_force(prometheus)
            refused = list(faults(with_files=False))
            if refused:
                raise ReloadError("\n".join(refused))
            write_rules()
            _reload("Prometheus", settings.url("prometheus"))
            _reload_alertmanager(settings)
            _await_evaluation(prometheus)
            lines = list(changes(before, rules_in_force(prometheus)))
    except ReloadError as error:
        click.echo(f"glasshouse reload: {error}", err=True)
        raise SystemExit(1) from error
    except (PrometheusError, SettingError, httpx.HTTPError) as error:
        click.echo(f"glasshouse reload: {error}; is the stack up? `make native` or `make up` starts it", err=True)
        raise SystemExit(2) from error
    for line in lines or ["no rule changed"]:
        click.echo(line)


def rules_in_force(prometheus: Prometheus) -> Rules:
    """Every rule that Prometheus has: expression and, of an alert, its time. Raises `PrometheusError`."""
    groups: list[dict[str, Any]] = prometheus.get("rules")["groups"]
    return {_name(rule): _meaning(rule) for group in groups for rule in group["rules"]}


def changes(before: Rules, after: Rules) -> Iterator[str]:
    """What differs, a line a rule."""
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None:
            yield f"new      {name}: {new}"
        elif new is None:
            yield f"gone     {name}"
        elif old != new:
            yield f"changed  {name}: {old} → {new}"


def _name(rule: Mapping[str, Any]) -> str:
    labels = ", ".join(f'{key}="{value}"' for key, value in sorted(rule.get("labels", {}).items()))
    return f"{rule['name']}{{{labels}}}" if labels else str(rule["name"])


def _meaning(rule: Mapping[str, Any]) -> str:
    expression = " ".join(rule["query"].split())
    return f"{expression} for {rule['duration']:g} s" if rule.get("duration") else expression


def _reload(name: str, url: str) -> None:
    answer = httpx.post(f"{url}/-/reload", timeout=10, trust_env=False)
    if answer.is_error:
        raise ReloadError(f"{name} refused: {answer.text.strip()}")


def _reload_alertmanager(settings: LabSettings) -> None:
    # the native way works with a copy in which the desk's address is filled in
    if Supervisor(HOME).is_running():
        (HOME.config / "alertmanager.yml").write_text(alertmanager_config(settings))
    _reload("Alertmanager", settings.url("alertmanager"))


def _await_evaluation(prometheus: Prometheus) -> None:
    """Waits until every threshold has been evaluated since now."""
    began = time.time()
    deadline = began + WAIT_SECONDS
    while time.time() < deadline:
        newest = prometheus.value("min(timestamp(alert_threshold))")
        if newest >= began:
            return
        time.sleep(0.2)
