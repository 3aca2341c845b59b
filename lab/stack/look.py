"""`glasshouse look`: where to look at the running stack, and those pages in a browser."""

import os
import socket
import sys
import webbrowser
from collections.abc import Iterator

import click

from lab.settings import START, LabSettings, SettingError, load_settings

# what is shown, the part whose port it is on, and the path of its first page
PAGES = (
    ("todo API", "gateway", "/tasks"),
    ("its documentation", "gateway", "/schema"),
    ("dashboards (Grafana)", "grafana", "/"),
    ("dashboards (viewer)", "viewer", "/"),
    ("Prometheus", "prometheus", "/"),
    ("Alertmanager", "alertmanager", "/"),
    ("alert inbox", "desk", "/"),
    ("traces (Tempo's API)", "tempo", "/"),
)
DASHBOARDS = ("grafana", "viewer")


@click.command("look")
@click.option("--open", "opens", is_flag=True, help="Open the dashboards in a browser.")
@click.option("--offer", "offers", is_flag=True, help="Offer to, where there is a terminal, a display and a browser.")
def look(opens: bool, offers: bool) -> None:
    """Print the addresses of the running stack that answer now, in whichever way it runs.

    Exit status 0; 1 if none answers.
    """
    try:
        settings = load_settings()
    except SettingError as error:
        click.echo(f"look: {error}", err=True)
        raise SystemExit(2) from error
    found = list(answering(settings))
    if not found:
        click.echo(f"look: nothing answers: start the stack with {START}", err=True)
        raise SystemExit(1)
    print_pages(settings, found)
    dashboards = next((part for _, part, _ in found if part in DASHBOARDS), None)
    if dashboards is None:
        click.echo("no dashboards are served: `glasshouse view` shows them here")
    elif opens or (offers and can_open() and click.confirm("open the dashboards in a browser?")):
        click.launch(settings.url(dashboards))


def can_open() -> bool:
    """Whether somebody can answer here, and a browser can be opened."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def answering(settings: LabSettings) -> Iterator[tuple[str, str, str]]:
    """The rows of `PAGES` whose port accepts a connection."""
    for page in PAGES:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", getattr(settings, f"{page[1]}_port"))) == 0:
                yield page


def print_pages(settings: LabSettings, pages: list[tuple[str, str, str]]) -> None:
    """One line each: what it is, and its address."""
    for name, part, path in pages:
        click.echo(f"  {name:22} {settings.url(part)}{path.rstrip('/')}")
