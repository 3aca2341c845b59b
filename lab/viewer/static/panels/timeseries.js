// Signals over time.

import { colourOf, faded, steps, themeOf } from "glasshouse/colours.js";
import { seriesOf, textOf } from "glasshouse/fields.js";
import { drawLegend } from "glasshouse/legend.js";
import { axis, timeChart, timesOf, widthOf } from "glasshouse/timechart.js";
import { chartWithLegend, hiddenOf } from "glasshouse/panels/charted.js";
import { drawExemplars, nearestExemplar } from "glasshouse/panels/exemplars.js";
import { stacked } from "glasshouse/panels/stacks.js";
import { drawThresholds } from "glasshouse/panels/thresholds.js";
import { format } from "glasshouse/units.js";

const BINARY_UNITS = new Set(["bytes", "binBps"]);
const POWERS_OF_TWO = Array.from({ length: 51 }, (_, power) => 2 ** power);

/** Draws the panel. */
export function draw(body, view) {
  const theme = themeOf(body);
  const { chart: place, legend } = chartWithLegend(body, view.panel.options);
  const series = seriesOf(view.panel, view.answer).map((line, index) => ({
    ...line,
    colour: colourOf(line.field, index, line.values.findLast((value) => value !== null) ?? null, theme, 2),
    scale: line.field.custom.axisPlacement === "right" ? "right" : "y",
  }));
  const hidden = hiddenOf(body);
  const shown = series.filter((line) => !hidden.has(line.name) && line.field.custom.hideFrom?.viz !== true);
  timeChart(place, view, plan(view, shown, stacked(shown, view.answer), theme));
  drawLegend(legend, view.panel.options, series, hidden, (name) => {
    alone(hidden, name, series);
    draw(body, view);
  });
}

function plan(view, shown, { rows, bands }, theme) {
  const scales = [...new Set(shown.map((line) => line.scale))];
  const dots = view.answer.results.flatMap((result) => result.exemplars);
  return {
    signature: JSON.stringify(shown.map((line) => [line.name, line.colour, line.scale])),
    data: [timesOf(view.answer), ...rows],
    series: shown.map(seriesOptions),
    bands,
    scales: Object.fromEntries(scales.map((key) => [key, scaleOptions(key, shown, dots)])),
    axes: scales.map((key) => axisOptions(key, shown, theme)),
    under: (chart) => drawThresholds(chart, shown, theme, true),
    over: (chart) => {
      drawThresholds(chart, shown, theme, false);
      drawExemplars(chart, dots, theme);
    },
    tip: (index, chart) => lines(view, shown, dots, index, chart),
    click: (chart) => {
      const dot = nearestExemplar(chart, dots);
      if (dot) view.showTraces(dot);
    },
  };
}

function seriesOptions(line) {
  const custom = line.field.custom;
  const opacity = (custom.fillOpacity ?? 0) / 100;
  const isBars = custom.drawStyle === "bars";
  return {
    label: line.name,
    scale: line.scale,
    stroke: line.colour,
    width: custom.drawStyle === "points" ? 0 : (custom.lineWidth ?? 1),
    dash:
      custom.lineStyle?.fill === "dash"
        ? (custom.lineStyle.dash ?? [10, 10])
        : custom.lineStyle?.fill === "dot"
          ? [1, 4]
          : undefined,
    fill:
      opacity > 0 || isBars
        ? faded(line.colour, opacity)
        : undefined,
    points: {
      show: custom.showPoints === "always" || custom.drawStyle === "points" ? true : isolated,
      size: custom.pointSize ?? 5,
    },
    paths: isBars
      ? uPlot.paths.bars({ size: [0.8, 30] })
      : custom.lineInterpolation?.startsWith("step")
        ? uPlot.paths.stepped({ align: custom.lineInterpolation === "stepBefore" ? -1 : 1 })
        : custom.lineInterpolation === "smooth"
          ? uPlot.paths.spline()
          : undefined,
  };
}

// a value between two gaps has no line to be part of
function isolated(chart, place, from, to) {
  const values = chart.data[place];
  for (let at = from; at <= to; at += 1) {
    if (values[at] != null && values[at - 1] == null && values[at + 1] == null) return true;
  }
  return false;
}

function scaleOptions(key, shown, dots) {
  const on = shown.filter((line) => line.scale === key);
  const limit = (name, pick) => {
    const set = on.map((line) => line.field[name]).filter((value) => value !== undefined && value !== null);
    return set.length ? pick(...set) : null;
  };
  const [least, most] = [limit("min", Math.min), limit("max", Math.max)];
  const soft = on.map((line) => line.field.custom.axisSoftMax).filter((value) => value !== undefined && value !== null);
  const softest = soft.length ? Math.max(...soft) : null;
  const isLog = on.some((line) => line.field.custom.scaleDistribution?.type === "log");
  const marked = on.flatMap((line) =>
    line.field.custom.thresholdsStyle?.mode?.match(/line|dashed/) ? steps(line.field).map((step) => step.value) : [],
  );
  return {
    distr: isLog ? 3 : 1,
    range: (chart, low, high) => {
      if (isLog) return uPlot.rangeLog(low ?? 0.001, high ?? 1, 10, true);
      const top = Math.max(
        high ?? 0,
        ...marked.filter((value) => value !== null),
        ...(key === "y" ? dots.map((dot) => dot.value ?? 0) : []),
      );
      // an axis of nothing but zeros ends at 100 in Grafana, which for a ratio is 10,000 %
      const end = Math.max(top, softest ?? -Infinity) || 100;
      const [soft, room] = uPlot.rangeNum(Math.min(least ?? low ?? 0, end), end, 0.1, true);
      return [least ?? (low >= 0 ? Math.max(0, soft) : soft), most ?? (top > (softest ?? 0) ? room : end)];
    },
  };
}

function axisOptions(key, shown, theme) {
  const line = shown.find((one) => one.scale === key);
  const { unit, decimals, custom } = line.field;
  return axis(theme, {
    scale: key,
    side: key === "right" ? 1 : 3,
    grid: { show: key === "y", stroke: theme.grid, width: 1 },
    space: 32,
    incrs: BINARY_UNITS.has(unit) ? POWERS_OF_TWO : undefined,
    size: (chart, labels) => (custom.axisPlacement === "hidden" ? 0 : widthOf(labels ?? [])),
    values: (chart, splits) => splits.map((value) => (value === null ? "" : format(value, unit, decimals))),
  });
}

function lines(view, shown, dots, index, chart) {
  const found = shown.map((line) => ({
    name: line.name,
    sortBy: line.values[index] ?? -Infinity,
    value: textOf(line.field, line.values[index]),
    colour: line.colour,
  }));
  const order = view.panel.options?.tooltip?.sort;
  if (order === "desc") found.sort((a, b) => b.sortBy - a.sortBy);
  if (order === "asc") found.sort((a, b) => a.sortBy - b.sortBy);
  const dot = nearestExemplar(chart, dots);
  return dot
    ? [...found, { name: `trace ${dot.traceId}`, value: textOf(shown[0].field, dot.value), colour: "transparent" }]
    : found;
}

function alone(hidden, name, series) {
  const others = series.map((line) => line.name).filter((other) => other !== name);
  const isAlone = !hidden.has(name) && others.length > 0 && others.every((other) => hidden.has(other));
  hidden.clear();
  if (!isAlone) others.forEach((other) => hidden.add(other));
}
