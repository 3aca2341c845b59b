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
_HEIGHTS = (1400, 1000, 700)
# until every chart has had its last resize
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
        wanted = uids or tuple(item["uid"] for item in listed)
        out.mkdir(parents=True, exist_ok=True)
        with chromium("dark", width=1280) as driver:
            for uid in wanted:
                click.echo(
                    f"{out / uid}.png  {_take(driver, f'{address}/d/{uid}?from={since}&to={until}', out, uid)} bytes"
                )
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


def _undrawn_in_sight(driver: webdriver.Chrome) -> list[str]:
    in_sight = driver.execute_script(
        "return [...document.querySelectorAll('.gh-panel')]"
        ".filter(panel => panel.getBoundingClientRect().top < innerHeight).map(panel => panel.ariaLabel)"
    )
    return [title for title in undrawn(driver) if title in in_sight]


if __name__ == "__main__":
    main()
