"""Headless Chromium, for pictures and tests of the viewer's pages. Needs Selenium (requirements/dev.txt)."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

BINARY = Path("/usr/bin/chromium")
DRIVER = Path("/usr/bin/chromedriver")
Theme = Literal["light", "dark"]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@contextmanager
def chromium(theme: Theme = "dark", width: int = 1600, height: int = 1000) -> Iterator[webdriver.Chrome]:
    """A browser with a fresh profile and a preferred theme, which is closed after the block; sizes in pixels."""
    with tempfile.TemporaryDirectory(prefix="glasshouse-chromium-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(BINARY)
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
        try:
            prefer(driver, theme)
            yield driver
        finally:
            driver.quit()


def prefer(driver: webdriver.Chrome, theme: Theme) -> None:
    """Emulates the system's colour scheme for the page."""
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    )


def see_all(driver: webdriver.Chrome, most: int = 8000) -> None:
    """Makes the window as high as the page, at most `most` pixels, so that every panel is visible."""
    high = driver.execute_script("return document.documentElement.scrollHeight")
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {
            "width": driver.execute_script("return innerWidth"),
            "height": min(high, most),
            "deviceScaleFactor": 1,
            "mobile": False,
        },
    )


def undrawn(driver: webdriver.Chrome) -> list[str]:
    """Titles of the panels that do not yet show their data or a problem."""
    found: list[str] = driver.execute_script(
        "return [...document.querySelectorAll('.gh-panel')]"
        ".filter(panel => !panel.dataset.drawn && !panel.querySelector('.gh-problem')).map(panel => panel.ariaLabel)"
    )
    return found


def problems(driver: webdriver.Chrome) -> dict[str, str]:
    """The text of the problem of each panel that shows one, by title."""
    found: dict[str, str] = driver.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('.gh-problem')]"
        ".map(shown => [shown.closest('.gh-panel').ariaLabel, shown.innerText]))"
    )
    return found
