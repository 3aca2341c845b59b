"""The types of panels that dashboards use, in one common style.

Only types that Grafana 9 has. `frame` sets the positions of panels, in reading order.
"""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import cast

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import gauge as gauge_builder
from grafana_foundation_sdk.builders import heatmap as heatmap_builder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models import statetimeline as statetimeline_model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from lab.panels import NOT_MEASURED
from observability.dashboards.palette import BLUE, IDLE
from observability.dashboards.queries import Query, or_none

PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="prometheus")

# (lower bound, colour); the first bound is ignored, because the first colour applies to all lower values
Steps = Sequence[tuple[float, str]]
# value → (text, colour)
States = Mapping[int, tuple[str, str]]

# the top of an axis with only zeros, for which Grafana would choose 100 (10,000 % for a ratio)
SOFT_MAX = {"percentunit": 0.01, "bytes": 2**20}
# Grafana draws exemplars over the cells of a heatmap, so the colour lets the cells through
EXEMPLAR = "rgba(213, 94, 0, 0.4)"
# what panels say without requests: in the selected time, or at all
NO_REQUESTS = "no requests in this time"
NO_REQUESTS_YET = "no requests yet"


def lines(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    *,
    width: int = 8,
    height: int = 8,
    most: float | None = None,
    is_stacked: bool = False,
    is_log: bool | None = None,
    has_negatives: bool = False,
    colours: Mapping[str, str] | None = None,
    before: str = "",
) -> model.Panel:
    """Signals over time. `colours` maps a regular expression on legends to a colour.

    Durations have a logarithmic axis, because their thresholds are orders of magnitude above them. With
    `has_negatives`, the axis extends below 0 if a value does. `before` is shown instead of the chart while there is no
    data.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit(unit)
        .color_scheme(_fixed(BLUE) if _has_only_fixed_names(queries) else _by_name())
        .line_width(2)
        .fill_opacity(8)
        .show_points(looks.VisibilityMode.NEVER)
        .span_nulls(15_000)
        .legend(_legend())
        .tooltip(_tooltip())
    )
    if is_log if is_log is not None else unit == "s":
        panel = panel.scale_distribution(
            common.ScaleDistributionConfig().type(looks.ScaleDistribution.LOG).log(10)
        ).fill_opacity(0)
    else:
        panel = panel.axis_soft_min(0) if has_negatives else panel.min(0)
        panel = panel.max(most) if most is not None else panel.axis_soft_max(SOFT_MAX.get(unit, 1))
    if is_stacked:
        # no outline: that of a series at 0 would cover the top of the series below it
        panel = (
            panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A"))
            .line_width(0)
            .fill_opacity(70)
        )
    if before:
        panel = panel.no_value(before)
    for pattern, colour in (colours or {}).items():
        panel = panel.override_by_regexp(pattern, [_colour(colour)])
    for query, target in zip(queries, _range_targets(queries), strict=True):
        if query.colour:
            panel = panel.override_by_query(target.build().ref_id or "", [_colour(query.colour), *_dashes(query)])
        panel = panel.with_target(target)
    return panel.build()


def number(
    title: str,
    description: str,
    unit: str,
    expr: str,
    *,
    steps: Steps = ((0, BLUE),),
    states: States | None = None,
    width: int = 4,
    height: int = 4,
    decimals: int | None = None,
    before: str = NOT_MEASURED,
) -> model.Panel:
    """The current value, with a sparkline of the selected time range. `before` is shown while there is no value.

    Grafana's usual "last, not null" would show the last p99 of the range, however old it is.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit(unit)
        .thresholds(_steps(steps))
        .color_scheme(_by_threshold())
        .reduce_options(common.ReduceDataOptions().calcs(["last"]).values(False))
        .graph_mode(looks.BigValueGraphMode.AREA)
        .color_mode(looks.BigValueColorMode.VALUE)
        .mappings(_mappings(states) + _waiting(before))
        .no_value(before)
        .with_target(_range_targets([Query(or_none(expr), title)])[0])
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    return panel.build()


def gauge(
    title: str,
    description: str,
    unit: str,
    expr: str,
    *,
    most: float,
    steps: Steps,
    width: int = 4,
    height: int = 4,
    before: str = NOT_MEASURED,
) -> model.Panel:
    """The current value on a scale from 0 to `most`. `before` is shown while there is no value."""
    return (
        gauge_builder.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit(unit)
        .min(0)
        .max(most)
        .thresholds(_steps(steps))
        .color_scheme(_by_threshold())
        .mappings(_waiting(before))
        .no_value(before)
        .reduce_options(_last())
        .show_threshold_markers(True)
        .with_target(_range_targets([Query(expr, title)])[0])
        .build()
    )


def bars(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    most: float | None = None,
    steps: Steps = ((0, BLUE),),
    has_least_first: bool = False,
    has_names_above: bool = False,
    width: int = 8,
    height: int = 8,
) -> model.Panel:
    """The current value of each series as a bar, the most first: Grafana makes no bar lower than 16 pixels, so the last
    ones may be visible only after scrolling. Beside the bars, names have at most 40 % of the width.

    The legend of `query` is one label, such as `{{node}}`.
    """
    expr = f"{'sort' if has_least_first else 'sort_desc'}({query.expr})"
    panel = (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit(unit)
        .min(0)
        .thresholds(_steps(steps))
        .color_scheme(_by_threshold())
        .reduce_options(_last())
        .orientation(looks.VizOrientation.HORIZONTAL)
        .display_mode(looks.BarGaugeDisplayMode.BASIC)
        # a legend alone is not shown beside a single bar
        .display_name(f"${{__field.labels.{query.legend.strip('{}')}}}")
        .with_target(_instant(expr, query.legend, PromQueryFormat.TIME_SERIES, "A"))
    )
    if most is not None:
        panel = panel.max(most)
    if has_names_above:
        panel = panel.name_placement(looks.BarGaugeNamePlacement.TOP)
    return panel.build()


def heatmap(
    title: str,
    description: str,
    query: Query,
    *,
    width: int = 12,
    height: int = 8,
    before: str = NO_REQUESTS,
) -> model.Panel:
    """The distribution of a duration over time; `query` returns a rate for each `le`."""
    return (
        heatmap_builder.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit("s")
        .no_value(before)
        .calculate(False)
        .cell_gap(1)
        .color(
            heatmap_builder.HeatmapColorOptions()
            .mode(heatmap_model.HeatmapColorMode.SCHEME)
            # Grafana inverts the scheme on the light theme, where low counts would vanish; reversed, they are visible
            .scheme("Cool")
            .reverse(True)
            .scale(heatmap_model.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .cell_values(heatmap_builder.CellValues().unit("reqps"))
        .y_axis(heatmap_builder.YAxisConfig().unit("s").axis_placement(looks.AxisPlacement.LEFT))
        .filter_values(heatmap_builder.FilterValueRange().le(1e-9))
        .exemplars_color(EXEMPLAR)
        .show_legend()
        .with_target(
            prometheus.Dataquery()
            .ref_id("A")
            .datasource(PROMETHEUS)
            .expr(query.expr)
            .range()
            .exemplar(query.has_exemplars)
            .legend_format("{{le}}")
            .format(PromQueryFormat.HEATMAP)
        )
        .build()
    )


def timeline(
    title: str, description: str, query: Query, states: States, *, width: int = 12, height: int = 8
) -> model.Panel:
    """The state of each series over time."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit("none")
        # coloured by threshold, merged values would show the thresholds' bounds instead of the states' names
        .color_scheme(_by_name())
        .mappings(_mappings(states))
        .merge_values(True)
        .show_value(looks.VisibilityMode.AUTO)
        .row_height(0.85)
        .fill_opacity(85)
        .legend(_legend())
        .tooltip(_tooltip())
        .with_target(_range_targets([query])[0])
        .build()
    )
    # 0 turns paging off, so that no firing alert is on a second page; the SDK's builder rejects 0
    cast(statetimeline_model.Options, panel.options).per_page = 0
    return panel


def listing(
    title: str,
    description: str,
    label: str,
    heading: str,
    columns: Mapping[str, tuple[str, str]],
    *,
    sort_by: str,
    heading_pixels: int = 140,
    width: int = 12,
    height: int = 8,
    before: str = "",
) -> model.Panel:
    """A table with one row for each value of `label`, in the column `heading`; `columns`: heading → (unit, expression).

    Grafana's `merge` joins rows only if all labels are equal, including the metric name, so each column is aggregated.
    """
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit("none")
        # with Grafana's default of 150 pixels the last columns would not be visible; a minimum for one column would
        # not make the others narrower, so the first column has a width
        .min_width(60)
        .sort_by([common.TableSortByFieldState().display_name(sort_by).desc(True)])
        .with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            model.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": {
                        label: 0,
                        **{
                            f"Value #{letter}": place for place, letter in enumerate(ascii_uppercase[: len(columns)], 1)
                        },
                    },
                    "renameByName": {
                        label: heading,
                        **{f"Value #{letter}": name for letter, name in zip(ascii_uppercase, columns, strict=False)},
                    },
                },
            )
        )
    )
    if before:
        panel = panel.no_value(before)
    panel = panel.override_by_name(heading, [model.DynamicConfigValue(id_val="custom.width", value=heading_pixels)])
    for letter, (name, (unit, expr)) in zip(ascii_uppercase, columns.items(), strict=False):
        panel = panel.override_by_name(name, [model.DynamicConfigValue(id_val="unit", value=unit)])
        panel = panel.with_target(_instant(f"max by ({label}) ({expr})", name, PromQueryFormat.TABLE, letter))
    return panel.build()


def _range_targets(queries: Sequence[Query]) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery()
        .ref_id(letter)
        .datasource(PROMETHEUS)
        .expr(query.expr)
        .range()
        .exemplar(query.has_exemplars)
        .legend_format(query.legend)
        .format(PromQueryFormat.TIME_SERIES)
        for letter, query in zip(ascii_uppercase, queries, strict=False)
    ]


def _instant(expr: str, legend: str, form: PromQueryFormat, letter: str) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .ref_id(letter)
        .datasource(PROMETHEUS)
        .expr(expr)
        .instant()
        .legend_format(legend)
        .format(form)
    )


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(looks.LegendDisplayMode.LIST)
        .placement(looks.LegendPlacement.BOTTOM)
        .show_legend(True)
    )


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _fixed(colour: str) -> builders.FieldColor:
    return builders.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(colour)


def _by_name() -> builders.FieldColor:
    return builders.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC)


def _has_only_fixed_names(queries: Sequence[Query]) -> bool:
    return all(query.colour or "{{" not in query.legend for query in queries)


def _by_threshold() -> builders.FieldColor:
    return builders.FieldColor().mode(model.FieldColorModeId.THRESHOLDS)


def _steps(steps: Steps) -> builders.ThresholdsConfig:
    lowest, *higher = steps
    return (
        builders.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps(
            [
                model.Threshold(value=None, color=lowest[1]),
                *(model.Threshold(value=value, color=colour) for value, colour in higher),
            ]
        )
    )


def _mappings(states: States | None) -> list[model.ValueMapping]:
    if not states:
        return []
    results = {
        str(value): model.ValueMappingResult(text=words, color=colour, index=index)
        for index, (value, (words, colour)) in enumerate(states.items())
    }
    return [model.ValueMap(options=results)]


def _waiting(text: str) -> list[model.ValueMapping]:
    """Grey text for a value that does not exist yet: Grafana would colour it like the lowest values, often red."""
    result = model.ValueMappingResult(text=text, color=IDLE, index=0)
    options = model.DashboardSpecialValueMapOptions(match=model.SpecialValueMatch.NULL_AND_NAN, result=result)
    return [model.SpecialValueMap(options=options)]


def _colour(colour: str) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})


def _dashes(query: Query) -> list[model.DynamicConfigValue]:
    if not query.is_dashed:
        return []
    return [
        model.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [10, 6]}),
        model.DynamicConfigValue(id_val="custom.lineWidth", value=1),
        model.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
        model.DynamicConfigValue(id_val="custom.stacking", value={"mode": "none", "group": "bound"}),
    ]
