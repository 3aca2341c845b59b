"""`glasshouse look`: prints the addresses of the running stack, and opens the dashboards in a browser."""

import os
import socket
import sys
import webbrowser
from collections.abc import Iterator

import click

from lab.settings import START, LabSettings, SettingError, load_settings

# name, part that serves it, and path of the start page
PAGES = (
    ("todo API", "gateway", "/tasks"),
    ("API documentation", "gateway", "/schema"),
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
@click.option(
    "--offer", "offers", is_flag=True, help="Ask whether to open them, if there is a terminal, a display and a browser."
)
def look(opens: bool, offers: bool) -> None:
    """Print the addresses of the running stack that answer now.

    Exit status: 0 done, 1 none answers, 2 a setting is invalid.
    """
    try:
        settings = load_settings()
    except SettingError as error:
        click.echo(f"look: {error}", err=True)
        raise SystemExit(2) from error
    found = list(answering(settings))
    if not found:
        click.echo(f"look: no address answers: start the stack with {START}", err=True)
        raise SystemExit(1)
    print_pages(settings, found)
    dashboards = next((part for _, part, _ in found if part in DASHBOARDS), None)
    if dashboards is None:
        click.echo("neither Grafana nor the viewer is running: `glasshouse view` starts the viewer")
    elif opens or (offers and can_open() and click.confirm("open the dashboards in a browser?")):
        click.launch(settings.url(dashboards))


def can_open() -> bool:
    """Whether there is an interactive terminal, and a browser can be opened."""
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
    """Prints name and address of each page."""
    for name, part, path in pages:
        click.echo(f"  {name:22} {settings.url(part)}{path.rstrip('/')}")
