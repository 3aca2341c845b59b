// Signals over time, as lines or stacked areas.

import { colourOf, faded, themeOf } from "glasshouse/colours.js";
import { newest, seriesOf, textOf } from "glasshouse/fields.js";
import { chartWithLegend, drawLegend } from "glasshouse/legend.js";
import { axis, exemplarsOf, timeChart, timesOf } from "glasshouse/timechart.js";
import { format } from "glasshouse/units.js";

const POWERS_OF_TWO = Array.from({ length: 51 }, (_, power) => 2 ** power);

/** Draws the panel. */
export function draw(body, view) {
  const theme = themeOf(body);
  const { chart, legend, hidden } = chartWithLegend(body);
  const series = seriesOf(view.panel, view.answer).map((line, index) => ({
    ...line,
    colour: colourOf(line.field, index, newest(line.values), theme, 2),
  }));
  const shown = series.filter((line) => !hidden.has(line.name));
  timeChart(chart, view, plan(view, shown, theme));
  drawLegend(legend, series, hidden, (name) => {
    showOnly(name, series, hidden);
    draw(body, view);
  });
}

function plan(view, shown, theme) {
  const { unit, decimals } = view.panel.fieldConfig?.defaults ?? {};
  const exemplars = exemplarsOf(view.answer);
  const { rows, bands } = stacked(shown, view.answer.step);
  return {
    signature: JSON.stringify(shown.map((line) => [line.name, line.colour])),
    data: [timesOf(view.answer), ...rows],
    series: shown.map(seriesOptions),
    bands,
    scales: { y: scaleOptions(shown, exemplars) },
    axes: [
      axis(theme, {
        space: 32,
        incrs: unit === "bytes" ? POWERS_OF_TWO : undefined,
        values: (chart, splits) => splits.map((value) => (value === null ? "" : format(value, unit, decimals))),
      }),
    ],
    exemplars,
    exemplarText: (dot) => format(dot.value, unit, decimals),
    tip: (index) => tipLines(shown, index),
  };
}

function seriesOptions({ name, colour, field: { custom } }) {
  const { fillOpacity = 0, lineStyle } = custom;
  return {
    label: name,
    stroke: colour,
    width: custom.lineWidth ?? 1,
    dash: lineStyle?.fill === "dash" ? (lineStyle.dash ?? [10, 10]) : undefined,
    fill: fillOpacity > 0 ? faded(colour, fillOpacity / 100) : undefined,
    points: { show: isolated, size: 5 },
  };
}

// a value between two gaps is drawn as a point, because it has no line
function isolated(chart, place, from, to) {
  const values = chart.data[place];
  for (let at = from; at <= to; at += 1) {
    if (values[at] != null && values[at - 1] == null && values[at + 1] == null) return true;
  }
  return false;
}

// Values as they are drawn: gaps up to `spanNulls` are bridged, and stacked series are added up.
function stacked(shown, step) {
  const last = new Map();
  const bands = [];
  const rows = shown.map(({ values, field: { custom } }, index) => {
    const { mode, group = "A" } = custom.stacking ?? {};
    const row = bridged(values, custom.spanNulls, step);
    if (mode !== "normal") return row;
    const below = last.get(group);
    const sum = row.map((value, at) => (below?.sum[at] ?? 0) + (value ?? 0));
    // uPlot's row 0 is the times; a band limits a series' area to the part above the series below it
    if (below) bands.push({ series: [index + 1, below.index + 1] });
    last.set(group, { sum, index });
    return sum;
  });
  return { rows, bands };
}

// uPlot draws a line across undefined, and a gap at null
function bridged(values, spanNulls, step) {
  if (!spanNulls) return values;
  const longest = spanNulls / 1000;
  const row = [...values];
  for (let at = 0; at < row.length; at += 1) {
    if (row[at] !== null) continue;
    let end = at;
    while (end < row.length && row[end] === null) end += 1;
    if (at > 0 && end < row.length && (end - at + 1) * step <= longest) row.fill(undefined, at, end);
    at = end;
  }
  return row;
}

function scaleOptions(shown, exemplars) {
  const limit = (read, pick) => {
    const found = shown.map(({ field }) => read(field)).filter((value) => value !== undefined && value !== null);
    return found.length ? pick(...found) : null;
  };
  const least = limit((field) => field.min, Math.min);
  const most = limit((field) => field.max, Math.max);
  const softLeast = limit((field) => field.custom.axisSoftMin, Math.min);
  const soft = limit((field) => field.custom.axisSoftMax, Math.max);
  const isLog = shown.some(({ field }) => field.custom.scaleDistribution?.type === "log");
  return {
    distr: isLog ? 3 : 1,
    range: (chart, low, high) => {
      if (isLog) return uPlot.rangeLog(low ?? 0.001, high ?? 1, 10, true);
      const top = Math.max(high ?? 0, ...exemplars.map((dot) => dot.value));
      // like Grafana's, an axis of only zeros ends at 100 without a soft maximum
      const end = Math.max(top, soft ?? -Infinity) || 100;
      const start = least ?? Math.min(low ?? 0, softLeast ?? Infinity);
      const [bottom, room] = uPlot.rangeNum(Math.min(start, end), most ?? end, 0.1, true);
      return [least ?? (low >= 0 ? Math.max(0, bottom) : bottom), most ?? (top > (soft ?? 0) ? room : end)];
    },
  };
}

// highest first
function tipLines(shown, index) {
  const value = (line) => line.values[index] ?? -Infinity;
  return shown
    .toSorted((a, b) => value(b) - value(a))
    .map((line) => ({ name: line.name, value: textOf(line.field, line.values[index]), colour: line.colour }));
}

function showOnly(name, series, hidden) {
  const others = series.map((line) => line.name).filter((other) => other !== name);
  const isAlone = !hidden.has(name) && others.length > 0 && others.every((other) => hidden.has(other));
  hidden.clear();
  if (!isAlone) others.forEach((other) => hidden.add(other));
}
