"""The vocabulary of panels: every kind that a dashboard may use, in the one look that all share.

Only kinds that Grafana 9 has. A panel's place is not its own affair: `frame` lays panels out in reading order.
"""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    gauge,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models import text as text_model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from observability.dashboards.palette import BLUE
from observability.dashboards.queries import Query

PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="prometheus")

# (from this value on, colour); the first pair's value is ignored, since it holds from below
Steps = Sequence[tuple[float, str]]
# value → (text, colour)
States = Mapping[int, tuple[str, str]]


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
    colours: Mapping[str, str] | None = None,
) -> model.Panel:
    """Signals over time. `colours` maps a regular expression on legends to a colour."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit(unit)
        .min(0)
        .color_scheme(_fixed(BLUE))
        .line_width(2)
        .fill_opacity(30 if is_stacked else 8)
        .show_points(looks.VisibilityMode.NEVER)
        .span_nulls(15_000)
        .legend(_legend())
        .tooltip(_tooltip())
    )
    if most is not None:
        panel = panel.max(most)
    if is_stacked:
        panel = panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
    for pattern, colour in (colours or {}).items():
        panel = panel.override_by_regexp(pattern, [_colour(colour)])
    for query in queries:
        if query.colour:
            panel = panel.override_by_name(query.legend, [_colour(query.colour), *_dashes(query)])
    for target in _range_targets(queries):
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
) -> model.Panel:
    """One number now, over its course in the chosen time."""
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
        .reduce_options(_last())
        .graph_mode(looks.BigValueGraphMode.AREA)
        .color_mode(looks.BigValueColorMode.VALUE)
        .mappings(_mappings(states))
        .with_target(_range_targets([Query(expr, title)])[0])
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    return panel.build()


def dial(
    title: str, description: str, unit: str, expr: str, *, most: float, steps: Steps, width: int = 4, height: int = 4
) -> model.Panel:
    """One number now, between 0 and `most`."""
    return (
        gauge.Panel()
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
    width: int = 8,
    height: int = 8,
) -> model.Panel:
    """One bar a series, now."""
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
        .with_target(_instant(query.expr, query.legend, PromQueryFormat.TIME_SERIES, "A"))
    )
    if most is not None:
        panel = panel.max(most)
    return panel.build()


def heat(title: str, description: str, buckets: str, *, width: int = 12, height: int = 8) -> model.Panel:
    """How a duration is spread: `buckets` gives a rate for each `le`."""
    return (
        heatmap.Panel()
        .title(title)
        .description(f"{description} No cells: nothing was asked.")
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit("s")
        .calculate(False)
        .cell_gap(1)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_model.HeatmapColorMode.SCHEME)
            # cividis reads the same to all kinds of colour vision
            .scheme("Cividis")
            .scale(heatmap_model.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
            .reverse(False)
        )
        .cell_values(heatmap.CellValues().unit("reqps"))
        .y_axis(heatmap.YAxisConfig().unit("s").axis_placement(looks.AxisPlacement.LEFT))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .show_color_scale(True)
        .with_target(
            prometheus.Dataquery()
            .ref_id("A")
            .datasource(PROMETHEUS)
            .expr(buckets)
            .range()
            .legend_format("{{le}}")
            .format(PromQueryFormat.HEATMAP)
        )
        .build()
    )


def timeline(
    title: str, description: str, query: Query, states: States, *, width: int = 12, height: int = 8
) -> model.Panel:
    """The state of each series over time."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit("none")
        .thresholds(_steps([(value, colour) for value, (_, colour) in states.items()]))
        .color_scheme(_by_threshold())
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


def listing(
    title: str,
    description: str,
    label: str,
    heading: str,
    columns: Mapping[str, tuple[str, str]],
    *,
    sort_by: str,
    width: int = 12,
    height: int = 8,
) -> model.Panel:
    """A table with a row for each value of `label`, headed `heading`; `columns`: heading → (unit, expression)."""
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit("none")
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
    for letter, (name, (unit, expr)) in zip(ascii_uppercase, columns.items(), strict=False):
        panel = panel.override_by_name(name, [model.DynamicConfigValue(id_val="unit", value=unit)])
        panel = panel.with_target(_instant(expr, name, PromQueryFormat.TABLE, letter))
    return panel.build()


def note(title: str, description: str, markdown: str, *, width: int = 24, height: int = 3) -> model.Panel:
    """Words that stay beside the figures."""
    return (
        text.Panel()
        .title(title)
        .description(description)
        .span(width)
        .height(height)
        .mode(text_model.TextMode.MARKDOWN)
        .content(markdown)
        .build()
    )


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


def _colour(colour: str) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})


def _dashes(query: Query) -> list[model.DynamicConfigValue]:
    if not query.is_dashed:
        return []
    return [
        model.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [10, 6]}),
        model.DynamicConfigValue(id_val="custom.lineWidth", value=1),
        model.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
        model.DynamicConfigValue(id_val="custom.stacking", value={"mode": "none", "group": "threshold"}),
    ]
