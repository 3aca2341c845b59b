"""The dashboards' source, JSON and documentation."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard as Model

from lab.alerts.catalog import load_alerts
from lab.alerts.thresholds import load_thresholds
from lab.panels import Dashboard, Panel, Target, Window, expand, load_dashboards
from lab.tracestore.logql import parse_logql
from lab.viewer.tracing import LINE_FORMAT
from observability.dashboards import DASHBOARDS
from observability.dashboards.alert_tuning import UNITS
from observability.dashboards.frame import COLUMNS, render
from tests.metric_names import known_names, metric_names

ROOT = Path(__file__).parents[2]
JSON_FOLDER = ROOT / "observability" / "grafana" / "dashboards"
COMMITTED = load_dashboards()
(COMMITTED_TRACE,) = (dashboard for dashboard in COMMITTED if dashboard.uid == "trace")
# the panel types of Grafana 9 that we use
KINDS = {
    "timeseries",
    "stat",
    "gauge",
    "bargauge",
    "heatmap",
    "table",
    "state-timeline",
    "text",
    "logs",
    "traces",
    "nodeGraph",
}
UIDS = {
    "overview",
    "requests",
    "cache-redis",
    "replicas-gateway",
    "database",
    "service-levels",
    "alert-tuning",
    "telemetry-health",
    "load-test",
    "trace",
}


def _panels() -> Iterator[tuple[Dashboard, Panel]]:
    return ((dashboard, panel) for dashboard in COMMITTED for panel in dashboard.panels)


def _targets(datasource: str = "prometheus") -> Iterator[tuple[Dashboard, Panel, Target]]:
    return (
        (dashboard, panel, target)
        for dashboard, panel in _panels()
        for target in panel.targets
        if target.datasource == datasource
    )


def test_the_dashboards_are_listed() -> None:
    assert {dashboard.uid for dashboard in COMMITTED} == UIDS
    assert {file.stem for file in JSON_FOLDER.glob("*.json")} == UIDS


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_dashboard_json_is_up_to_date_with_its_source(dashboard: Any) -> None:
    assert (JSON_FOLDER / f"{dashboard.uid}.json").read_text() == render(dashboard), "run `make dashboards`"


@pytest.mark.parametrize("uid", sorted(UIDS))
def test_dashboard_json_has_only_fields_of_grafanas_model(uid: str) -> None:
    """The JSON survives a round trip through the SDK's model of Grafana's schema, which only adds defaults."""
    plugins.register_default_plugins()
    data = json.loads((JSON_FOLDER / f"{uid}.json").read_text())
    for annotation in data["annotations"]["list"]:
        # fields of the Prometheus data source, which the model does not have
        for name in ("titleFormat", "textFormat", "tagKeys", "target", "useValueForTime"):
            del annotation[name]
    again = json.loads(json.dumps(Model.from_json(data), cls=JSONEncoder))
    assert not list(_lost(data, again))


def _lost(before: Any, after: Any, place: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from _lost(value, after.get(name), f"{place}/{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _lost(one, other, f"{place}/{index}")
    elif before != after:
        yield f"{place}: {before} became {after}"


def test_panels_use_only_kinds_that_grafana_9_has() -> None:
    assert {panel.kind for _, panel in _panels()} <= KINDS


def test_data_sources_are_provisioned() -> None:
    provisioned = {
        source["uid"]
        for file in ROOT.glob("observability/grafana/provisioning/datasources/*.y*ml")
        for source in yaml.safe_load(file.read_text())["datasources"]
    }
    used = {target.datasource for _, panel in _panels() for target in panel.targets}
    used |= {panel.source["datasource"]["uid"] for _, panel in _panels() if panel.targets}
    used |= {annotation.target.datasource for dashboard in COMMITTED for annotation in dashboard.annotations}
    used |= {
        variable["datasource"]["uid"]
        for dashboard in COMMITTED
        for variable in dashboard.source["templating"]["list"]
        if variable["type"] != "textbox"
    }
    assert used
    assert used <= provisioned


def test_every_panel_has_a_description() -> None:
    for dashboard, panel in _panels():
        place = f"{dashboard.uid} / {panel.title}"
        assert panel.title, place
        assert panel.description.endswith("."), place
        sentences = re.findall(r"\. |\.$", panel.description)
        assert 1 <= len(sentences) <= 3, place
        assert panel.unit, place
        assert panel.targets or panel.kind == "text", place
        assert all(target.legend for target in panel.targets if target.datasource == "prometheus"), place


def test_titles_and_ids_are_unique_in_a_dashboard() -> None:
    for dashboard in COMMITTED:
        ids = [panel["id"] for panel in dashboard.source["panels"]]
        titles = [panel["title"] for panel in dashboard.source["panels"]]
        assert len(set(ids)) == len(ids), dashboard.uid
        assert len(set(titles)) == len(titles), dashboard.uid


def test_targets_are_lettered() -> None:
    for dashboard, panel in _panels():
        letters = [target.ref_id for target in panel.targets]
        assert letters == [chr(ord("A") + place) for place in range(len(letters))], f"{dashboard.uid} / {panel.title}"


def test_panels_stay_within_24_columns_and_never_overlap() -> None:
    for dashboard in COMMITTED:
        cells: dict[tuple[int, int], str] = {}
        for panel in dashboard.source["panels"]:
            place = panel["gridPos"]
            assert place["x"] >= 0
            assert place["x"] + place["w"] <= COLUMNS, f"{dashboard.uid} / {panel['title']}"
            for cell in itertools.product(
                range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
            ):
                assert cell not in cells, f"{dashboard.uid}: {panel['title']} over {cells[cell]}"
                cells[cell] = panel["title"]


def test_panels_side_by_side_fill_the_width() -> None:
    for dashboard in COMMITTED:
        widths: dict[int, int] = {}
        for panel in dashboard.source["panels"]:
            place = panel["gridPos"]
            widths[place["y"]] = widths.get(place["y"], 0) + place["w"]
        # there are as many signals as alerts
        assert dashboard.uid == "alert-tuning" or set(widths.values()) == {COLUMNS}, f"{dashboard.uid}: {widths}"


def test_a_heatmap_queries_the_heatmap_format() -> None:
    formats = {(panel.kind == "heatmap", target.format == "heatmap") for _, panel, target in _targets()}
    assert formats == {(True, True), (False, False)}


def test_dashboards_have_the_same_refresh_links_and_variables() -> None:
    for dashboard in COMMITTED:
        # a dashboard of a single trace, run or alert does not refresh while someone reads it
        assert dashboard.source["refresh"] == ("" if dashboard.parameters else "5s")
        (link,) = dashboard.source["links"]
        assert link["keepTime"]
        assert link["includeVars"]
        assert set(link["tags"]) <= set(dashboard.source["tags"])
        assert [variable.name for variable in dashboard.variables] == ["route", "replica", "node"]
        assert all(variable.is_multi for variable in dashboard.variables)
        assert [annotation.name for annotation in dashboard.annotations] == [
            "Load",
            "Restarts",
            "Thresholds",
            "Faults",
            "Alerts",
        ]


def test_a_variable_is_shown_exactly_where_a_panel_uses_it() -> None:
    for dashboard in COMMITTED:
        asked = " ".join(target.query for panel in dashboard.panels for target in panel.targets)
        for variable in dashboard.variables:
            assert variable.is_hidden != (f"${variable.name}" in asked), f"{dashboard.uid}: {variable.name}"


def test_log_queries_are_supported_by_the_trace_store_too() -> None:
    """The viewer shows the same log lines as Grafana shows from Loki."""
    asked = [
        expand(target.query, dashboard.variables, {}, WINDOW).replace("$", "")
        for dashboard, _, target in _targets("loki")
        if not dashboard.parameters
    ]
    assert asked
    for query in asked:
        parse_logql(query)
    assert all(target.query.endswith(LINE_FORMAT) for _, _, target in _targets("loki"))


def test_without_explore_an_exemplar_links_to_the_trace_dashboard() -> None:
    """Exemplars, log lines and search results link to it."""
    file = ROOT / "observability/grafana/provisioning/datasources/datasources.yml"
    sources = {source["uid"]: source["jsonData"] for source in yaml.safe_load(file.read_text())["datasources"]}
    (exemplar,) = sources["prometheus"]["exemplarTraceIdDestinations"]
    (derived,) = sources["loki"]["derivedFields"]
    (parameter,) = (
        variable for variable in COMMITTED_TRACE.source["templating"]["list"] if variable["type"] == "textbox"
    )
    # two dollar signs, because provisioning substitutes environment variables
    address = f"/d/{COMMITTED_TRACE.uid}?var-{parameter['name']}=$${{__value.raw}}"
    assert exemplar["name"] == derived["matcherRegex"] == "trace_id"
    assert exemplar["url"] == derived["url"] == address
    assert not {"datasourceUid"} & (exemplar.keys() | derived.keys())
    assert address.replace("$$", "$") in json.dumps(COMMITTED_TRACE.source)
    assert sources["tempo"]["tracesToLogsV2"]["datasourceUid"] in sources
    assert sources["tempo"]["serviceMap"]["datasourceUid"] in sources


def test_every_metric_in_a_query_is_known() -> None:
    strangers = {
        f"{dashboard.uid} / {panel.title}": unknown
        for dashboard, panel, target in _targets()
        if (unknown := metric_names(target.query) - known_names())
    }
    assert not strangers
    for dashboard in COMMITTED:
        asked = [annotation.target.query for annotation in dashboard.annotations]
        asked += [variable.match for variable in dashboard.variables]
        assert {name for query in asked for name in metric_names(query)} <= known_names()


def test_metric_names_are_found_in_promql() -> None:
    query = (
        'sum by (job, le) (rate(a:b_total{x=~"up|down"}[5m] offset 10s)) / on (i) group_left (n) (c_info > 1e3)'
        ' or label_replace(vector(0), "q", "$1", "r", "(.+)") and max_over_time(d[1m:5s])'
    )
    assert metric_names(query) == {"a:b_total", "c_info", "d"}


def test_exemplars_are_queried_on_a_series_that_has_them() -> None:
    """A recorded series has no exemplars: a panel that shows them queries the service's own buckets."""
    shown = [
        target
        for _, panel in _panels()
        for target, source in zip(panel.targets, panel.source.get("targets", []), strict=True)
        if source.get("exemplar")
    ]
    assert len(shown) >= 3
    assert all("http_server_request_duration_seconds_bucket" in target.query for target in shown)


def test_threshold_lines_are_thresholds_that_exist() -> None:
    turned = {name for name, tuning in load_thresholds().items() if tuning.threshold is not None}
    drawn = {
        alert for _, _, target in _targets() for alert in re.findall(r'alert_threshold\{alert="([^"]+)"', target.query)
    }
    assert drawn <= turned
    assert turned <= drawn, "every threshold is drawn at least on Alert tuning"


def test_a_threshold_line_has_the_unit_of_its_alert() -> None:
    """Otherwise the line is compared with numbers of another kind, such as a deviation of 0.6 with a ratio of 1."""
    units = {alert.name: UNITS.get(alert.definition.unit, "none") for alert in load_alerts()}
    for dashboard, panel, target in _targets():
        # not where arithmetic converts it, as from an error ratio to a burn rate
        for alert in re.findall(r'alert_threshold\{alert="([^"]+)"[^}]*\}\)', target.query):
            assert panel.unit == units[alert], f"{dashboard.uid} / {panel.title}"


def test_every_dashboard_has_a_page() -> None:
    for dashboard in COMMITTED:
        page = ROOT / "docs" / "dashboards" / f"{dashboard.uid}.md"
        text = page.read_text()
        assert text.startswith(f"# {dashboard.title}\n")
        for heading in ("Look first at", "A cache outage", "An overloaded replica", "A slow database"):
            assert f"## {heading}" in text, f"{page.name}: {heading}"


def test_a_page_names_only_existing_panels() -> None:
    for dashboard in COMMITTED:
        text = (ROOT / "docs" / "dashboards" / f"{dashboard.uid}.md").read_text()
        section = text.split("## Look first at")[1].split("\n## ")[0]
        assert set(re.findall(r"\*\*(.+?)\*\*", section)) <= {panel.title for panel in dashboard.panels}, dashboard.uid


WINDOW = Window.of(1_000_000, 1_000_900)


@pytest.mark.parametrize(
    ("chosen", "filled"),
    [
        ([], ".*"),
        (["$__all"], ".*"),
        (["/tasks"], "/tasks"),
        (["/tasks/{task_id}"], r"/tasks/\\{task_id\\}"),
        (["/tasks", "/schema"], "(/tasks|/schema)"),
        (["todo-1"], "todo-1"),
    ],
)
def test_variables_are_interpolated_as_in_grafana(chosen: list[str], filled: str) -> None:
    variables = COMMITTED[0].variables
    assert expand('m{r=~"$route"}', variables, {"route": chosen}, WINDOW) == f'm{{r=~"{filled}"}}'
    assert expand('m{r=~"${route}"}', variables, {"route": chosen}, WINDOW) == f'm{{r=~"{filled}"}}'


def test_a_window_has_whole_steps_of_at_least_the_scrape_interval() -> None:
    assert Window.of(1003, 1903) == Window(1000, 1900, 5)
    assert Window.of(0, 86_400).step == 300


@pytest.mark.parametrize(
    ("query", "filled"), [("[$__rate_interval]", "[20s]"), ("[$__interval]", "[5s]"), ("[$__range:15s]", "[900s:15s]")]
)
def test_intervals_are_filled_in(query: str, filled: str) -> None:
    assert expand(query, (), {}, WINDOW) == filled


def test_a_reference_to_a_regex_group_is_not_expanded() -> None:
    assert expand('label_replace(a, "b", "$1", "c", "(.+)")', (), {}, WINDOW).count("$1") == 1


def test_an_unknown_variable_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no variable \$nobody"):
        expand("m{a=~'$nobody'}", (), {}, WINDOW)
