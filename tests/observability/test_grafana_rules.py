"""Rules for a panel's JSON, so that Grafana draws it as intended; one test for each rule."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.panels import Dashboard, Panel, load_dashboards
from observability.dashboards.queries import ZERO
from tests.observability.font_widths import width_of

ROOT = Path(__file__).parents[2]
COMMITTED = load_dashboards()
# of a window 1,440 pixels wide, the width of Grafana's docked menu and the page's padding
SCREEN, MENU, PADDING = 1440, 300, 32
GAP = 8
# what a panel's header needs beside the title: padding, the description's icon, and the room of the hidden menu, 98
# pixels as measured in Grafana 12.4; the rest is for the difference between measured and rendered titles
HEADER = 101
GRAFANA_ROW = 30


def _panels(*kinds: str) -> Iterator[tuple[str, Panel]]:
    """Prometheus panels and text panels."""
    for dashboard in COMMITTED:
        for panel in dashboard.panels:
            is_of_others = panel.targets and panel.targets[0].datasource != "prometheus"
            if (panel.kind in kinds or not kinds) and not is_of_others:
                yield f"{dashboard.uid} / {panel.title}", panel


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = panel.source["fieldConfig"]["defaults"]
    return {"custom": {}, **defaults}


def _pixels(columns: int) -> float:
    return (SCREEN - MENU - PADDING + GAP) / 24 * columns - GAP


def test_a_merged_table_aggregates_each_query_by_the_label_that_joins_the_rows() -> None:
    """`merge` joins rows whose labels are all equal, and the name of a bare metric is one of its labels."""
    tables = list(_panels("table"))
    assert tables
    for place, panel in tables:
        assert any(step["id"] == "merge" for step in panel.source["transformations"]), place
        keys = [re.match(r"(?:max|min|sum|count) by \((\w+)\) \(", target.query) for target in panel.targets]
        assert all(keys), place
        assert len({key[1] for key in keys if key}) == 1, place


def test_a_table_fits_its_columns() -> None:
    """Grafana divides what columns with a width leave; a column's minimum does not make the others narrower."""
    for place, panel in _panels("table"):
        least = _defaults(panel)["custom"]["minWidth"]
        (first,) = _properties(panel, "custom.width")
        assert not _properties(panel, "custom.minWidth"), place
        assert first + least * len(panel.targets) <= _pixels(panel.grid.w) - 2 * GAP, place


def _properties(panel: Panel, name: str) -> list[Any]:
    overrides = panel.source["fieldConfig"]["overrides"]
    return [item["value"] for override in overrides for item in override["properties"] if item["id"] == name]


def test_names_of_alerts_are_shown_in_full() -> None:
    """In a table's first column, above a bar, and beside a row of a state timeline of at least 13 pixels."""
    tuning = next(dashboard for dashboard in COMMITTED if dashboard.uid == "alert-tuning")
    alerts = [panel.title for panel in tuning.panels if panel.title.isalnum() and panel.kind == "timeseries"]
    assert len(alerts) > 40
    by_title = {panel.title: panel for panel in tuning.panels}
    assert _properties(by_title["Alert history"], "custom.width")[0] > max(map(width_of, alerts)) + 2 * GAP
    assert by_title["Noisiest alerts"].source["options"]["namePlacement"] == "top"
    header_axis_and_legend = 120
    rows = by_title["Alert states"].grid.h * (GRAFANA_ROW + GAP) - GAP - header_axis_and_legend
    assert rows / (len(alerts) + 6) > 13


def test_names_of_phases_do_not_overlap() -> None:
    """After several loads there are as many rows: of eleven rows, each needs 13 pixels."""
    (phases,) = (panel for place, panel in _panels("state-timeline") if place == "load-test / Load phase")
    header_axis_and_legend = 120
    assert phases.grid.h * (GRAFANA_ROW + GAP) - GAP - header_axis_and_legend > 11 * 13


def test_names_of_lock_modes_are_shown_in_full() -> None:
    """Beside the bars of a panel of a third of the width, Grafana truncates `shareupdateexclusivelock`."""
    locks = next(panel for place, panel in _panels("bargauge") if place == "database / Locks by mode")
    assert locks.source["options"]["namePlacement"] == "top"


def test_a_single_bar_has_a_name() -> None:
    """Grafana drops the legend of a single series, so that only a number would be left, as of one kind of lock."""
    for place, panel in _panels("bargauge"):
        (target,) = panel.targets
        label = target.legend.strip("{}")
        assert _defaults(panel)["displayName"] == f"${{__field.labels.{label}}}", place


def test_a_fallback_with_a_label_is_shown_only_if_nothing_else_is() -> None:
    """Without `on ()`, a series with another label value does not replace the fallback, and both are shown."""
    fallbacks = re.compile(r"\bor\s+(?P<on>on \(\) )?label_replace\((vector\(|0 \*)")
    for place, panel in _panels():
        for target in panel.targets:
            assert all(found["on"] for found in fallbacks.finditer(target.query)), place


def test_a_size_does_not_start_at_0() -> None:
    """A fallback of 0 is a jump at the first measurement, as if all data had been written at once."""
    for place, panel in _panels("timeseries"):
        if panel.unit == "bytes":
            assert all(ZERO not in target.query for target in panel.targets), place


def test_a_fallback_of_0_starts_with_the_stack() -> None:
    """`vector(0)` is 0 before the stack existed: zeros that nobody measured."""
    for place, panel in _panels():
        assert all("vector(0)" not in target.query for target in panel.targets), place


def test_the_buckets_of_a_heatmap_have_the_same_timestamps() -> None:
    """Grafana subtracts buckets by position: after a fallback of one bucket, it draws counts that are not there."""
    files = sorted((ROOT / "observability/prometheus/rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    recorded = {rule["record"]: rule["expr"] for group in groups for rule in group["rules"]}
    for place, panel in _panels("heatmap"):
        (target,) = panel.targets
        sources = [expr for name, expr in recorded.items() if name in target.query]
        assert all(" or " not in " ".join(expr.split()) for expr in (target.query, *sources)), place


def test_a_heatmap_of_zeros_is_not_drawn() -> None:
    """Grafana 12 says "∞undefined" in its legend."""
    for place, panel in _panels("heatmap"):
        (target,) = panel.targets
        assert re.search(r' and on \(\) .*le="\+Inf"\S* > 0$', target.query), place


def test_the_text_for_no_value_fits() -> None:
    """Into the arc of a gauge Grafana fits the text by making it smaller, and in a cell of a table it cuts it."""
    for place, panel in _panels("gauge", "table"):
        is_small = panel.kind == "table" or panel.grid.h < 6
        assert len(panel.before) <= (3 if is_small else 15), place


def test_bars_are_sorted_because_the_last_ones_may_be_out_of_sight() -> None:
    for place, panel in _panels("bargauge"):
        (target,) = panel.targets
        is_share_of_up = panel.title == "Targets up"
        assert target.query.startswith("sort(" if is_share_of_up else "sort_desc("), place


def test_merged_states_keep_their_names() -> None:
    """Grafana drops the mappings of merged values if the colour mode is `thresholds`."""
    timelines = list(_panels("state-timeline"))
    assert timelines
    for place, panel in timelines:
        assert panel.source["options"]["mergeValues"], place
        assert _defaults(panel)["color"]["mode"] != "thresholds", place
        (mapping,) = _defaults(panel)["mappings"]
        assert all(state["text"] and state["color"] for state in mapping["options"].values()), place


def test_a_redis_node_is_called_primary_everywhere() -> None:
    """As in the panel *Role by node*; only the metrics have the older word."""
    for place, panel in _panels():
        texts = [panel.title, panel.description, str(panel.source["fieldConfig"]["defaults"].get("mappings", ""))]
        assert not re.search(r"\bmaster\b", " ".join([*texts, *(target.legend for target in panel.targets)])), place


def test_every_row_of_states_is_on_the_first_page() -> None:
    for place, panel in _panels("state-timeline"):
        # without the option there are 20 rows per page
        assert panel.source["options"]["perPage"] == 0, place


def test_a_row_of_a_state_timeline_is_not_named_twice() -> None:
    for place, panel in _panels("state-timeline"):
        assert len(re.findall(r"\{\{", panel.targets[0].legend)) == 1, place


def test_a_stacked_series_at_zero_draws_no_line() -> None:
    stacked = [
        (place, panel)
        for place, panel in _panels("timeseries")
        if _defaults(panel)["custom"].get("stacking", {}).get("mode") == "normal"
    ]
    assert len(stacked) > 5
    for place, panel in stacked:
        assert _defaults(panel)["custom"]["lineWidth"] == 0, place
        assert _defaults(panel)["custom"]["fillOpacity"] >= 50, place
        for override in panel.source["fieldConfig"]["overrides"]:
            assert all(item["id"] != "custom.lineWidth" for item in override["properties"]), place


def test_no_title_is_truncated_at_1440_pixels() -> None:
    cut = {
        place: f"{width_of(panel.title):.0f} of {_pixels(panel.grid.w) - HEADER:.0f} px"
        for place, panel in _panels()
        if width_of(panel.title) > _pixels(panel.grid.w) - HEADER
    }
    assert not cut


def test_no_header_loses_room_to_a_notice_that_a_metric_might_not_be_a_counter() -> None:
    """Prometheus 3 adds the notice to answers with a rate of a metric that has another suffix, and Grafana shows it."""
    queries = [
        (f"{dashboard.uid} / {owner}", target.query)
        for dashboard in COMMITTED
        for owner, targets in (
            *((panel.title, panel.targets) for panel in dashboard.panels),
            *((annotation.name, [annotation.target]) for annotation in dashboard.annotations),
        )
        for target in targets
    ]
    counters = [
        (place, name) for place, query in queries for name in re.findall(r"\b(?:rate|increase)\(\s*([\w:]*)", query)
    ]
    assert len(counters) > 40
    doubtful = {(place, name) for place, name in counters if not name.endswith(("_total", "_sum", "_count", "_bucket"))}
    assert not doubtful


def test_a_title_names_its_subject_without_judging_it() -> None:
    """Colours and the description say what is good and bad."""
    judged = [place for place, panel in _panels() if re.search(r"\b(good|bad)\b", panel.title)]
    assert not judged


def test_the_axis_of_an_all_zero_panel_does_not_extend_to_100() -> None:
    """Grafana ends an axis of only zeros at 100, which is 10,000 % if the unit is a ratio."""
    for place, panel in _panels("timeseries"):
        defaults = _defaults(panel)
        is_log = defaults["custom"].get("scaleDistribution", {}).get("type") == "log"
        assert is_log or "max" in defaults or defaults["custom"].get("axisSoftMax"), place
        # a logarithmic axis has no 0
        assert not (is_log and "min" in defaults), place


def test_durations_with_a_threshold_have_a_logarithmic_axis() -> None:
    for place, panel in _panels("timeseries"):
        if panel.unit == "s" and _dashed(panel):
            assert _defaults(panel)["custom"]["scaleDistribution"]["type"] == "log", place


def test_the_legend_of_a_bound_has_its_value() -> None:
    bounds = [
        (place, target.legend)
        for place, panel in _panels("timeseries")
        for target in panel.targets
        if "alert_threshold" in target.query or target.ref_id in _dashed(panel)
    ]
    assert len(bounds) > 40
    for place, legend in bounds:
        assert "{{at}}" in legend, place


def _dashed(panel: Panel) -> set[str]:
    return {
        override["matcher"]["options"]
        for override in panel.source["fieldConfig"]["overrides"]
        if any(item["id"] == "custom.lineStyle" for item in override["properties"])
    }


def test_a_hard_limit_is_drawn_only_if_the_signal_is_near() -> None:
    """A limit of 256 above a signal of 1 would make the signal a flat line."""
    for place, panel in _panels("timeseries"):
        for target in panel.targets:
            if target.legend.startswith("limit"):
                assert "> bool" in target.query, place


def test_series_have_fixed_colours_by_name() -> None:
    for place, panel in _panels("timeseries"):
        if all("{{" not in target.legend or target.ref_id in _dashed(panel) for target in panel.targets):
            continue
        overrides = [item for item in panel.source["fieldConfig"]["overrides"] if item["matcher"]["id"] == "byRegexp"]
        assert overrides or _defaults(panel)["color"]["mode"] == "palette-classic", place


def test_success_and_created_have_different_hues() -> None:
    panel = next(panel for _, panel in _panels() if panel.title == "Request rate by status")
    colours = [
        override["properties"][0]["value"]["fixedColor"] for override in panel.source["fieldConfig"]["overrides"]
    ]
    assert len(set(colours)) == len(colours)
    assert {"#0072B2", "#56B4E9"} - {colours[0], colours[1]}


def test_a_rare_slow_cell_is_visible_in_both_themes() -> None:
    for place, panel in _panels("heatmap"):
        colour = panel.source["options"]["color"]
        assert (colour["mode"], colour["scheme"], colour["reverse"]) == ("scheme", "Cool", True), place
        assert colour["scale"] == "exponential", place
        assert colour["exponent"] <= 0.5, place


def test_heatmaps_of_requests_carry_exemplars() -> None:
    with_exemplars = 0
    for place, panel in _panels("heatmap"):
        (source,) = panel.source["targets"]
        if "http_server_request_duration_seconds_bucket" in source["expr"]:
            assert source["exemplar"], place
            with_exemplars += 1
    assert with_exemplars >= 3


def test_exemplars_do_not_hide_the_cells_below_them() -> None:
    for place, panel in _panels("heatmap"):
        colour = re.fullmatch(r"rgba\(\d+, \d+, \d+, (0\.\d+)\)", panel.source["options"]["exemplars"]["color"])
        assert colour, place
        assert float(colour[1]) < 0.5, place


def test_an_overspent_budget_is_below_0_with_its_amount() -> None:
    """A minimum of 0 would hide the line, and a budget of -20,000 % would make all of 0 to 100 % a flat line."""
    kinds: dict[str, int] = {}
    for place, panel in _panels():
        budgets = [target.query for target in panel.targets if "error_budget_remaining" in target.query]
        for query in budgets:
            kinds[panel.kind] = kinds.get(panel.kind, 0) + 1
            assert "overspent" in panel.description, place
            if panel.kind == "timeseries":
                assert re.fullmatch(r"clamp_min\(.*, -1\)", query), place
                assert "min" not in _defaults(panel), place
                assert _defaults(panel)["custom"]["axisSoftMin"] == 0, place
                assert "at -100 %" in panel.description, place
            else:
                assert "clamp" not in query, place
    assert kinds == {"gauge": 4, "timeseries": 2}


def test_budgets_read_as_unmeasured_before_there_is_data() -> None:
    budgets = [
        (place, panel)
        for place, panel in _panels()
        if any("error_budget_remaining" in target.query for target in panel.targets)
    ]
    assert len(budgets) >= 4
    for place, panel in budgets:
        assert all("vector(" not in target.query for target in panel.targets), place
        assert _defaults(panel)["noValue"], place


def test_a_value_that_does_not_exist_yet_is_grey_text() -> None:
    """Grafana gives the text for it the colour of the lowest values, which is red or orange for a budget or a ratio."""
    numbers = list(_panels("stat", "gauge"))
    assert len(numbers) > 40
    for place, panel in numbers:
        nulls = [mapping["options"] for mapping in _defaults(panel)["mappings"] if mapping["type"] == "special"]
        assert panel.before, place
        assert [(each["match"], each["result"]["text"]) for each in nulls] == [("null+nan", panel.before)], place
        assert nulls[0]["result"]["color"] == "#999999", place


def test_a_number_is_the_current_value_and_not_the_last_one_in_the_time_range() -> None:
    """Without traffic, the p99 of the last requests would be shown for as long as they are in the range."""
    for place, panel in _panels("stat"):
        assert panel.source["options"]["reduceOptions"]["calcs"] == ["last"], place
        assert [target.query.endswith(") or vector(0 / 0)") for target in panel.targets] == [True], place


def test_shares_of_replicas_are_shown_only_with_traffic() -> None:
    shares = [target.query for _, panel in _panels() for target in panel.targets if "share1m" in target.query]
    assert len(shares) >= 3
    assert all("[15s])) > 0.5 and" in query and "[15s] offset 15s)) > 0.5)" in query for query in shares)


def test_joins_by_replica_work_with_two_names_for_one_address() -> None:
    for place, panel in _panels():
        for target in panel.targets:
            if "group_left (replica)" in target.query:
                assert "topk by (instance) (1, timestamp(service_info" in target.query, place


def test_annotations_mark_starts_and_ends() -> None:
    """A long-lasting series would fill every plot with colour for as long."""
    for dashboard in COMMITTED:
        for annotation in dashboard.annotations:
            assert " unless " in annotation.target.query or " != " in annotation.target.query, annotation.name
            assert "offset $__interval" in annotation.target.query, annotation.name


def test_lines_of_annotations_let_the_data_through_and_are_visible_in_both_themes() -> None:
    for dashboard in COMMITTED:
        for annotation in dashboard.annotations:
            colour = re.fullmatch(r"#([0-9A-F]{6})([0-9A-F]{2})", annotation.colour)
            assert colour, annotation.name
            assert int(colour[2], 16) < 128, annotation.name
            assert colour[1] not in ("000000", "FFFFFF"), annotation.name


def test_annotations_have_the_form_of_schema_42() -> None:
    for dashboard in COMMITTED:
        assert dashboard.source["schemaVersion"] == 42
        for annotation in dashboard.source["annotations"]["list"]:
            assert annotation["target"]["expr"]
            assert annotation["target"]["refId"] == "Anno"
            assert "expr" not in annotation


def test_links_to_the_other_dashboards_are_one_menu() -> None:
    for dashboard in COMMITTED:
        (link,) = dashboard.source["links"]
        assert link["asDropdown"], dashboard.uid


def _height(dashboard: Dashboard) -> int:
    return max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard.source["panels"])


def test_the_overview_fits_a_height_of_1080_pixels() -> None:
    overview = next(dashboard for dashboard in COMMITTED if dashboard.uid == "overview")
    assert _height(overview) * (GRAFANA_ROW + GAP) + 2 * GAP <= 1080


@pytest.mark.parametrize("word", ["RED", "USE"])
def test_rows_are_found_by_method_name(word: str) -> None:
    rows = {panel["title"] for dashboard in COMMITTED for panel in dashboard.source["panels"] if panel["type"] == "row"}
    assert any(row.startswith(word) for row in rows)
