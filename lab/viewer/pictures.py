"""Pictures of the dashboards for the documentation: `python -m lab.viewer.pictures`, with a stack and its viewer up."""

import sys
import time
from pathlib import Path

import click
import httpx
from selenium import webdriver
from selenium.common import WebDriverException
from selenium.webdriver.support.wait import WebDriverWait

from lab.settings import ROOT, load_settings
from lab.viewer.chromium import chromium, see_all, undrawn

MAX_BYTES = 300_000
# the dashboard that the viewer replaces by its trace pages
TRACE = "trace"
TRACE_PAGES = ("traces-search", "traces-waterfall", "traces-failed")
LOG_PANEL = "traces-panel"
_HEIGHTS = (1400, 1000, 700)
# until every chart has its final size
_SETTLE_SECONDS = 1.0


@click.command()
@click.option("--viewer", help="Address of the viewer.  [default: the stack's]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "docs" / "pictures")
@click.option("--from", "since", default="now-15m", show_default=True, help="Begin of what is shown, as in an address.")
@click.option("--to", "until", default="now", show_default=True, help="End of what is shown.")
@click.argument("uids", nargs=-1)
def main(viewer: str | None, out: Path, since: str, until: str, uids: tuple[str, ...]) -> None:
    """Take a picture of each dashboard, or of those with these UIDS, of at most 300 kB."""
    address = (viewer or load_settings().url("viewer")).rstrip("/")
    try:
        listed = httpx.get(f"{address}/api/dashboards", trust_env=False).raise_for_status().json()
        wanted = uids or (*(item["uid"] for item in listed if item["uid"] != TRACE), *TRACE_PAGES, LOG_PANEL)
        out.mkdir(parents=True, exist_ok=True)
        with chromium("dark", width=1280) as driver:
            for uid in wanted:
                if uid == LOG_PANEL:
                    size = _take_log_panel(driver, f"{address}/d/requests?from={since}&to={until}", out)
                elif uid in TRACE_PAGES:
                    size = _take_traces(driver, address, uid, since, out)
                else:
                    size = _take(driver, f"{address}/d/{uid}?from={since}&to={until}", out, uid)
                click.echo(f"{out / uid}.png  {size} bytes")
    except (httpx.HTTPError, OSError, WebDriverException) as error:
        click.echo(f"pictures: {address}: {error}; is the stack up, and are chromium and chromedriver there?", err=True)
        sys.exit(2)


def _take(driver: webdriver.Chrome, address: str, out: Path, uid: str) -> int:
    driver.get(address)
    WebDriverWait(driver, 30).until(lambda _: driver.execute_script("return !!document.querySelector('.gh-panel')"))
    picture = b""
    for height in _HEIGHTS:
        see_all(driver, height)
        WebDriverWait(driver, 30).until(lambda _: not _undrawn_in_sight(driver))
        time.sleep(_SETTLE_SECONDS)
        picture = driver.get_screenshot_as_png()
        if len(picture) <= MAX_BYTES:
            break
    (out / f"{uid}.png").write_bytes(picture)
    return len(picture)


def _take_traces(driver: webdriver.Chrome, viewer: str, page: str, since: str, out: Path) -> int:
    """A trace page: the search, the slowest request with several spans, or the newest failed one."""
    path = f"/traces?order=slowest&from={since}"
    if page != "traces-search":
        chosen = {"failed": "1"} if page == "traces-failed" else {"order": "slowest"}
        answer = httpx.get(
            f"{viewer}/api/tracing/search", params={"from": since, **chosen}, trust_env=False, timeout=30
        )
        found = answer.raise_for_status().json()
        if not found:
            raise OSError(f"no trace for {page}: is there load, and something that fails?")
        most = max(min(each["spans"], 4) for each in found)
        path = f"/trace/{next(each['traceId'] for each in found if each['spans'] >= most)}"
    driver.get(viewer + path)
    WebDriverWait(driver, 30).until(
        lambda _: driver.execute_script("return document.querySelector('.gh-tracing')?.dataset.drawn")
    )
    if page != "traces-search":
        driver.execute_script(
            "const spans = [...document.querySelectorAll('.gh-span')];"
            "(spans.find((span) => span.matches('.gh-span-error')) ?? spans[1] ?? spans[0]).open = true;"
            "const line = document.querySelector('.gh-tracing .gh-line'); if (line) line.open = true"
        )
    see_all(driver, _HEIGHTS[-1] if page == "traces-search" else _HEIGHTS[0])
    time.sleep(_SETTLE_SECONDS)
    picture = driver.get_screenshot_as_png()
    (out / f"{page}.png").write_bytes(picture)
    return len(picture)


def _take_log_panel(driver: webdriver.Chrome, address: str, out: Path) -> int:
    """The log panel of the Requests dashboard, with its first line opened."""
    panel = ".gh-kind-logs"
    driver.get(address)
    WebDriverWait(driver, 30).until(
        lambda _: driver.execute_script(
            "const panel = document.querySelector(arguments[0]); panel?.scrollIntoView();"
            "return panel?.querySelector('.gh-line') || panel?.querySelector('.gh-no-lines')",
            panel,
        )
    )
    time.sleep(_SETTLE_SECONDS)
    picture = driver.find_element("css selector", panel).screenshot_as_png
    (out / f"{LOG_PANEL}.png").write_bytes(picture)
    return len(picture)


def _undrawn_in_sight(driver: webdriver.Chrome) -> list[str]:
    in_sight = driver.execute_script(
        "return [...document.querySelectorAll('.gh-panel')]"
        ".filter(panel => panel.getBoundingClientRect().top < innerHeight).map(panel => panel.ariaLabel)"
    )
    return [title for title in undrawn(driver) if title in in_sight]


if __name__ == "__main__":
    main()
