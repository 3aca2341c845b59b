"""The viewer's dashboards in Chromium."""

import json
import os
import re
import time
from pathlib import Path

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from lab.panels import DASHBOARDS
from lab.prometheus import Prometheus
from lab.viewer.chromium import prefer, problems, see_all, undrawn
from lab.viewer.folder import Folder
from lab.viewer.snapshot import embed, snapshot
from testbed import free_port, wait_for
from tests.lab.viewer.conftest import Viewer, complaints, has_lost_scripts, visit
from tests.lab.viewer.odd_dashboard import HOSTILE, TRACE

pytestmark = pytest.mark.browser

COMMITTED = sorted(file.stem for file in DASHBOARDS.glob("*.json"))

# what each panel type has in its body when drawn: elements to count, and whether a canvas must have visible pixels
DRAWN = {
    "timeseries": ".gh-chart canvas",
    "heatmap": ".gh-chart canvas",
    "state-timeline": ".gh-chart canvas",
    "stat": ".gh-stat-value",
    "gauge": ".gh-gauge path",
    "bargauge": ".gh-bar-fill",
    "table": "tbody td",
    "logs": ".gh-logs",
}


def _open(browser: webdriver.Chrome, address: str) -> None:
    """Opens a page without refresh, which would replace elements that a test uses."""
    address = address if "refresh=" in address else f"{address}{'&' if '?' in address else '?'}refresh="
    visit(browser, address, lambda: browser.find_elements(By.CLASS_NAME, "gh-panel"))
    see_all(browser)
    wait_for(lambda: not undrawn(browser), 40, "every panel drawn")


def _texts(browser: webdriver.Chrome, selector: str, name: str = "innerText") -> list[str]:
    """A property of each element, read in one step, because a refresh may replace elements between two steps."""
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(shown => shown[arguments[1]])", selector, name
    )
    return found


def _complaints(browser: webdriver.Chrome) -> list[str]:
    return complaints(browser, "SEVERE", "WARNING")


def _blank(browser: webdriver.Chrome) -> list[str]:
    """Titles of the panels that are blank although they should not be."""
    found: list[str] = browser.execute_script(
        """
        const inked = (canvas) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return data.some((value) => value !== 0);
        };
        return [...document.querySelectorAll(".gh-panel")].filter((panel) => {
          if (panel.querySelector(".gh-problem, .gh-waiting")) return false;
          const kind = [...panel.classList].find((name) => name.startsWith("gh-kind-")).slice(8);
          const parts = [...panel.querySelectorAll(arguments[0][kind])];
          const isSeen = (part) => part.getContext ? inked(part) : part.getBoundingClientRect().height > 0;
          return !parts.some(isSeen);
        }).map((panel) => panel.ariaLabel);
        """,
        DRAWN,
    )
    return found


# (the viewer has a page of its own for one trace)
@pytest.mark.parametrize("uid", sorted({*COMMITTED} - {"trace"}))
def test_every_panel_of_a_committed_dashboard_is_drawn(browser: webdriver.Chrome, viewer: Viewer, uid: str) -> None:
    _open(browser, f"{viewer.url}/d/{uid}?from=now-5m&to=now")
    assert problems(browser) == {}
    assert _blank(browser) == []
    assert len(browser.find_elements(By.CLASS_NAME, "gh-panel")) == len(Folder(DASHBOARDS).dashboard(uid).panels)
    assert _complaints(browser) == []


def test_the_list_links_to_each_dashboard(browser: webdriver.Chrome, viewer: Viewer) -> None:
    browser.get(viewer.url)
    cards = wait_for(lambda: browser.find_elements(By.CLASS_NAME, "gh-card"), 20, "the list")
    uids = [(card.get_attribute("href") or "").rpartition("/")[2] for card in cards]
    assert uids[0] == "overview"
    assert set(uids) == {*COMMITTED, "odd"}
    assert _complaints(browser) == []


def test_a_panel_shows_in_place_which_query_failed_and_why(browser: webdriver.Chrome, viewer: Viewer) -> None:
    _open(browser, f"{viewer.url}/d/odd")
    shown = problems(browser)
    assert shown.keys() == {"broken query", "nothing there", "unknown kind"}
    assert "rate(odd_level[" in shown["broken query"]
    assert "parse error" in shown["broken query"]
    assert 'odd_absent{route=~".*"}' in shown["nothing there"]
    assert "no series matched" in shown["nothing there"]
    assert "piechart" in shown["unknown kind"]
    warning = browser.find_element(By.CSS_SELECTOR, "[aria-label='half there'] .gh-warning")
    assert "odd_missing" in (warning.get_attribute("title") or "")
    assert _blank(browser) == []


def _of(browser: webdriver.Chrome, title: str, selector: str) -> list[str]:
    return _texts(browser, f"[aria-label='{title}'] {selector}")


def test_surprising_grafana_rendering_is_reproduced(browser: webdriver.Chrome, viewer: Viewer) -> None:
    _open(browser, f"{viewer.url}/d/odd")
    # `merge` joins rows by every label, and a bare metric's name is one
    assert len(_of(browser, "bare metrics", "tbody tr")) == 2
    assert "__name__" in " ".join(_of(browser, "bare metrics", "th"))
    # merged values of a threshold band are named by the band
    states = " ".join(_of(browser, "states by threshold", ".gh-legend"))
    assert "< 1" in states
    assert "idle" not in states
    # without `perPage` there are twenty rows per page
    assert "page 1 of" in " ".join(_of(browser, "pages", ".gh-pager"))
    assert "page 1 of 1" in " ".join(_of(browser, "states", ".gh-pager"))
    assert _of(browser, "states by threshold", ".gh-pager") == []


def test_an_axis_with_a_soft_minimum_extends_below_it_only_for_lower_values(
    browser: webdriver.Chrome, viewer: Viewer
) -> None:
    _open(browser, f"{viewer.url}/d/odd")

    def height(title: str) -> float:
        """The height of the purple line in its plot: 0 is the bottom, 1 the top."""
        found: float = browser.execute_script(
            """
            const panel = document.querySelector(`[aria-label='${arguments[0]}']`);
            const canvas = panel.querySelector(".gh-chart canvas");
            const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const rows = [];
            for (let at = 0; at < data.length; at += 4) {
              const [red, green, blue] = data.subarray(at, at + 3);
              if (Math.min(red, blue) > green + 60) rows.push(Math.floor(at / 4 / width));
            }
            const middle = rows.reduce((sum, row) => sum + row, 0) / rows.length / devicePixelRatio;
            const plot = panel.querySelector(".u-over").getBoundingClientRect();
            return 1 - (middle - (plot.top - canvas.getBoundingClientRect().top)) / plot.height;
            """,
            title,
        )
        return found

    assert height("most of the budget") == pytest.approx(0.9, abs=0.05)
    # the axis of -0.5 ends below it
    assert 0.02 < height("overspent budget") < 0.3


def test_a_panel_without_data_says_what_it_waits_for(browser: webdriver.Chrome, viewer: Viewer) -> None:
    _open(browser, f"{viewer.url}/d/odd")
    assert _of(browser, "waiting", ".gh-waiting") == ["nothing was asked"]
    assert "waiting" not in problems(browser)


def test_a_number_is_reduced_as_its_panel_says(browser: webdriver.Chrome, viewer: Viewer) -> None:
    _open(browser, f"{viewer.url}/d/odd")
    assert _of(browser, "ended, last", ".gh-stat-value") == ["nothing now"]
    text = browser.find_element(By.CSS_SELECTOR, "[aria-label='ended, last'] .gh-stat-value")
    assert text.value_of_css_property("color") == "rgba(153, 153, 153, 1)"
    assert _of(browser, "ended, lastNotNull", ".gh-stat-value") == ["5"]


def test_the_overview_fits_a_wall_screen_without_scrolling(browser: webdriver.Chrome, viewer: Viewer) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 1920, "height": 1080, "deviceScaleFactor": 1, "mobile": False}
    )
    browser.get(f"{viewer.url}/d/overview?kiosk&refresh=")
    wait_for(lambda: browser.find_elements(By.CLASS_NAME, "gh-panel"), 20, "panels")
    wait_for(lambda: not undrawn(browser), 40, "every panel drawn")
    assert not browser.find_element(By.CLASS_NAME, "gh-head").is_displayed()
    assert browser.execute_script("return document.documentElement.scrollHeight") <= 1080


def test_labels_are_only_shown_as_text(browser: webdriver.Chrome, viewer: Viewer) -> None:
    _open(browser, f"{viewer.url}/d/odd")
    assert browser.title == "Odd - Glasshouse"
    assert browser.find_elements(By.CSS_SELECTOR, ".gh img") == []
    for kind in ("timeseries .gh-legend", "stat", "bargauge", "gauge", "table"):
        texts = _texts(browser, f".gh-kind-{kind}")
        assert any(HOSTILE in text for text in texts), kind


def test_a_single_bar_has_a_name_only_if_the_panel_sets_a_display_name(
    browser: webdriver.Chrome, viewer: Viewer
) -> None:
    """As in Grafana."""
    _open(browser, f"{viewer.url}/d/odd")
    assert _texts(browser, "[aria-label='one bar, with a legend'] .gh-bar-name") == [""]
    assert _texts(browser, "[aria-label='one bar, with a display name'] .gh-bar-name") == ["odd"]


def test_the_names_of_bars_are_above_them_if_the_panel_says_so(browser: webdriver.Chrome, viewer: Viewer) -> None:
    _open(browser, f"{viewer.url}/d/odd")
    script = "return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()"
    above, beside = (
        [browser.execute_script(script, f"[aria-label='{title}'] .gh-bar-{part}") for part in ("name", "track")]
        for title in ("one bar, with a display name", "bars")
    )
    assert above[0]["bottom"] <= above[1]["top"]
    assert beside[0]["right"] <= beside[1]["left"]


def test_an_override_sets_the_colour_of_its_series(browser: webdriver.Chrome, viewer: Viewer) -> None:
    _open(browser, f"{viewer.url}/d/odd")
    colour = browser.execute_script(
        """
        const names = [...document.querySelectorAll("[aria-label='hostile names'] .gh-legend-name")];
        const quiet = names.find((name) => name.innerText.includes("quiet"));
        return getComputedStyle(quiet.querySelector(".gh-swatch")).backgroundColor;
        """
    )
    # #aa00aa, made lighter on the dark background
    red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
    assert green < 90
    assert red == blue > 150


def test_clicking_a_legend_entry_shows_only_its_series(browser: webdriver.Chrome, viewer: Viewer) -> None:
    _open(browser, f"{viewer.url}/d/odd")

    def pressed() -> list[str]:
        return _texts(browser, "[aria-label='hostile names'] .gh-legend-name", "ariaPressed")

    def press() -> None:
        browser.execute_script("""document.querySelector("[aria-label='hostile names'] .gh-legend-name").click()""")

    assert pressed() == ["true", "true"]
    press()
    wait_for(lambda: pressed() == ["true", "false"], 10, "one series alone")
    press()
    wait_for(lambda: pressed() == ["true", "true"], 10, "all series again")


def test_links_between_dashboards_keep_variables_and_time_range(browser: webdriver.Chrome, viewer: Viewer) -> None:
    _open(browser, f"{viewer.url}/d/replicas-gateway?from=now-5m&to=now&var-replica=todo-2&refresh=")
    names = _texts(browser, ".gh-legend-name")
    assert "todo-2" in names
    assert "todo-1" not in names
    browser.find_element(By.LINK_TEXT, "Overview").click()
    wait_for(lambda: "/d/overview?" in browser.current_url, 10, "the other dashboard")
    assert "var-replica=todo-2" in browser.current_url
    assert "from=now-5m" in browser.current_url


def test_choosing_a_value_of_a_variable_updates_the_panels(browser: webdriver.Chrome, viewer: Viewer) -> None:
    _open(browser, f"{viewer.url}/d/replicas-gateway?from=now-5m&to=now&refresh=")
    browser.find_element(By.CSS_SELECTOR, ".gh-chooser button").click()
    wait_for(
        lambda: _texts(browser, "[aria-label=Replica] label") == ["All", "todo-1", "todo-2", "todo-3"], 10, "the values"
    )
    browser.find_elements(By.CSS_SELECTOR, "[aria-label=Replica] input")[3].click()
    wait_for(lambda: "var-replica=todo-3" in browser.current_url, 10, "the choice in the address")
    wait_for(
        lambda: "todo-1" not in _texts(browser, ".gh-legend-name"),
        20,
        "other replicas gone",
    )


def test_panels_are_refreshed_until_paused(browser: webdriver.Chrome, viewer: Viewer) -> None:
    def drawings() -> int:
        counts: list[str] = browser.execute_script(
            "return [...document.querySelectorAll('[data-drawn]')].map(panel => panel.dataset.drawn)"
        )
        return min(int(count) for count in counts)

    _open(browser, f"{viewer.url}/d/overview?from=now-5m&to=now&refresh=5s")
    before = drawings()
    wait_for(lambda: drawings() > before, 30, "a refresh")
    browser.find_element(By.XPATH, "//button[text()='Pause']").click()
    wait_for(lambda: browser.find_elements(By.XPATH, "//button[text()='Resume']"), 10, "the pause")
    assert "refresh=" in browser.current_url


def test_dragging_over_a_chart_zooms_into_that_time(browser: webdriver.Chrome, viewer: Viewer) -> None:
    _open(browser, f"{viewer.url}/d/overview?from=now-5m&to=now&refresh=")
    over = browser.find_elements(By.CSS_SELECTOR, ".gh-kind-timeseries .u-over")[0]
    webdriver.ActionChains(browser).move_to_element_with_offset(over, -60, 0).click_and_hold().move_by_offset(
        110, 0
    ).release().perform()
    wait_for(lambda: "from=1" in browser.current_url, 10, "two moments in the address")


def test_the_tooltip_of_a_chart_has_the_unit_of_each_series(browser: webdriver.Chrome, viewer: Viewer) -> None:
    _open(browser, f"{viewer.url}/d/odd?refresh=")
    over = browser.find_element(By.CSS_SELECTOR, "[aria-label='hostile names'] .u-over")
    box = over.rect
    webdriver.ActionChains(browser).move_to_element_with_offset(over, int(box["width"] / 2) - 6, 0).perform()
    tip = wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, ".gh-tip:not([hidden])"), 10, "the tooltip")[0]
    assert HOSTILE in tip.text
    assert re.search(r"quiet\s+[\d.]+ B$", tip.text, re.MULTILINE)


def test_without_a_trace_store_an_exemplar_is_an_id_without_a_link(
    browser: webdriver.Chrome, tmp_path: Path, prometheus_url: str, dashboards: Path
) -> None:
    nowhere = {**os.environ, "TEMPO_PORT": str(free_port())}
    with Viewer(tmp_path, prometheus_url, dashboards, nowhere) as viewer:
        _open(browser, f"{viewer.url}/d/odd?refresh=")
        browser.find_element(By.CSS_SELECTOR, "[aria-label='with traces'] header button").click()
        dialog = wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, "dialog[open]"), 10, "the traces")[0]
        assert TRACE in dialog.text
        assert dialog.find_elements(By.TAG_NAME, "a") == []


def test_light_and_dark_follow_the_system_and_the_button(browser: webdriver.Chrome, viewer: Viewer) -> None:
    def ground() -> int:
        colour: str = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        return int(colour.removeprefix("rgb(").split(",")[0])

    try:
        prefer(browser, "light")
        _open(browser, f"{viewer.url}/d/overview?refresh=")
        assert ground() > 200
        prefer(browser, "dark")
        # beside Docker tests it once took longer than 50 s; the cause was not found
        wait_for(lambda: ground() < 60, 40, "the dark ground")
        browser.find_element(By.CSS_SELECTOR, "button[aria-label='Light or dark']").click()
        assert ground() > 200
    finally:
        browser.execute_script("localStorage.clear()")
        prefer(browser, "dark")


def test_a_banner_has_the_address_of_a_prometheus_that_does_not_answer(
    browser: webdriver.Chrome, tmp_path: Path, dashboards: Path
) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    with Viewer(tmp_path, away, dashboards) as viewer:
        _open(browser, f"{viewer.url}/d/overview")
        banner = wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, ".gh-banner:not([hidden])"), 10, "a banner")[0]
        assert away in banner.text
        shown = problems(browser)
    assert len(shown) == len(Folder(DASHBOARDS).dashboard("overview").panels)
    assert all(away in words for words in shown.values())


def test_a_banner_says_that_the_viewer_has_stopped(browser: webdriver.Chrome, tmp_path: Path, dashboards: Path) -> None:
    with Viewer(tmp_path, "http://127.0.0.1:1", dashboards) as viewer:
        _open(browser, f"{viewer.url}/d/overview?refresh=5s")
    banner = wait_for(
        lambda: [
            shown for shown in browser.find_elements(By.CLASS_NAME, "gh-banner") if "does not answer" in shown.text
        ],
        30,
        "a banner",
    )[0]
    wait_for(lambda: "glasshouse view" in banner.text, 30, "the viewer's name")


def test_a_request_that_chromium_ended_is_repeated(browser: webdriver.Chrome, viewer: Viewer) -> None:
    """As it does when a network interface appears or disappears: here the first request of each path fails."""
    source = """
        const real = window.fetch, ended = new Set();
        window.fetch = (path, ...rest) => {
          if (ended.has(path)) return real(path, ...rest);
          ended.add(path);
          return Promise.reject(new TypeError("Failed to fetch"));
        };
    """
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        _open(browser, f"{viewer.url}/d/overview?from=now-5m&to=now")
        assert problems(browser) == {}
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_an_unknown_dashboard_is_one_sentence_of_error(browser: webdriver.Chrome, viewer: Viewer) -> None:
    browser.get(f"{viewer.url}/d/nope")
    banner = wait_for(lambda: browser.find_elements(By.CLASS_NAME, "gh-banner"), 10, "a banner")[0]
    assert "no dashboard 'nope'" in banner.text


def test_a_snapshot_is_drawn_from_a_file_without_a_server(
    browser: webdriver.Chrome, prometheus_url: str, dashboards: Path, tmp_path: Path
) -> None:
    now = time.time()
    with Prometheus(prometheus_url) as prometheus:
        shown = snapshot(prometheus, ["overview", "odd"], now - 120, now, folder=Folder(dashboards))
    fragment = embed(shown)
    assert HOSTILE not in fragment
    page = tmp_path / "report.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><title>report</title><h1>Report</h1>{fragment}")
    browser.get(page.as_uri())
    see_all(browser, 8000)
    wait_for(lambda: not undrawn(browser), 40, "every panel drawn")
    assert problems(browser).keys() == {"broken query", "nothing there", "unknown kind"}
    assert _blank(browser) == []
    assert browser.title == "report"
    assert _complaints(browser) == []
    assert json.loads(browser.execute_script("return JSON.stringify(performance.getEntriesByType('resource'))")) == []


def test_the_server_forwards_only_the_queries_of_panels_to_prometheus(viewer: Viewer) -> None:
    with httpx.Client(base_url=viewer.url, trust_env=False) as client:
        for path in ("/api/v1/query?query=up", "/-/reload", "/-/quit", "/api/v1/admin/tsdb/snapshot"):
            assert client.get(path).status_code == 404
            assert client.post(path).status_code in {404, 405}
        assert client.post("/api/dashboards/overview/panels/1").status_code == 405


def test_a_page_whose_scripts_were_dropped_is_opened_again(browser: webdriver.Chrome, viewer: Viewer) -> None:
    """Chromium drops requests when a network interface changes; here the first ones of scripts are blocked."""
    was_lost = False

    def shown() -> object:
        nonlocal was_lost
        if has_lost_scripts(browser):
            was_lost = True
            browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        return browser.find_elements(By.CLASS_NAME, "gh-panel")

    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*.js"]})
    try:
        visit(browser, f"{viewer.url}/d/overview?refresh=", shown)
    finally:
        browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        browser.execute_cdp_cmd("Network.disable", {})
    assert was_lost
    assert not has_lost_scripts(browser)
