// How a duration is spread over time: buckets upwards, time to the right, the more the brighter.

import { faded, shade, themeOf } from "glasshouse/colours.js";
import { element } from "glasshouse/dom.js";
import { fieldOf } from "glasshouse/fields.js";
import { axis, timeChart, timesOf, widthOf } from "glasshouse/timechart.js";
import { chartWithLegend } from "glasshouse/panels/charted.js";
import { drawExemplars, nearestExemplar } from "glasshouse/panels/exemplars.js";
import { format } from "glasshouse/units.js";

/** Draws the panel. */
export function draw(body, view) {
  const theme = themeOf(body);
  const { options = {} } = view.panel;
  const { chart, legend } = chartWithLegend(body, {});
  const rows = buckets(view.answer.results.flatMap((result) => result.lines));
  const unit = options.yAxis?.unit ?? fieldOf(view.panel, "").unit ?? "s";
  const count = options.cellValues?.unit ?? "short";
  const most = Math.max(...rows.flatMap((row) => row.values.map((value) => value ?? 0)), 1e-12);
  const tones = scale(options.color ?? {}, most, theme);
  const dots = placed(view.answer.results.flatMap((result) => result.exemplars), rows);
  const names = rows.map((row) => (row.le === Infinity ? "+Inf" : format(row.le, unit)));
  timeChart(chart, view, {
    signature: JSON.stringify(names),
    data: [timesOf(view.answer), ...rows.map((row) => row.values)],
    series: rows.map(() => ({ paths: () => null, points: { show: false } })),
    showsPoints: false,
    scales: { y: { range: () => [0, rows.length] } },
    axes: [
      axis(theme, {
        side: 3,
        grid: { show: false },
        size: (plot, labels) => widthOf(labels ?? []),
        splits: (plot) => everyFew(rows.length, plot.height),
        values: (plot, splits) => splits.map((at) => (at === 0 ? "0" : names[at - 1])),
      }),
    ],
    over: (plot) => {
      drawCells(plot, rows, tones, options);
      drawExemplars(plot, dots, theme);
    },
    click: (plot) => {
      const dot = nearestExemplar(plot, dots);
      if (dot) view.showTraces(dot);
    },
    tip: (index, plot) => [
      ...tipLines(rows, names, index, Math.floor(plot.posToVal(plot.cursor.top, "y")), count, tones),
      ...traceLines(nearestExemplar(plot, dots), unit),
    ],
  });
  drawScale(legend, most, count, options, theme);
}

// Prometheus' buckets each count all that the smaller ones count too
function buckets(lines) {
  const sorted = lines
    .map((line) => ({ le: bound(line.labels.le), values: line.values }))
    .filter((row) => !Number.isNaN(row.le))
    .sort((a, b) => a.le - b.le);
  return sorted.map((row, index) => ({
    le: row.le,
    from: sorted[index - 1]?.le ?? 0,
    values: row.values.map((value, at) =>
      value === null ? null : Math.max(0, value - (sorted[index - 1]?.values[at] ?? 0)),
    ),
  }));
}

function bound(le) {
  return le === "+Inf" ? Infinity : Number.parseFloat(le);
}

// exemplars by their bucket's row, and within it by their share of its span
function placed(exemplars, rows) {
  return exemplars.flatMap((dot) => {
    const level = rows.findIndex((row) => dot.value !== null && dot.value <= row.le);
    if (level < 0) return [];
    const { from, le } = rows[level];
    return [{ ...dot, seconds: dot.value, value: level + (le === Infinity ? 0.5 : (dot.value - from) / (le - from)) }];
  });
}

function traceLines(dot, unit) {
  return dot ? [{ name: `trace ${dot.traceId}`, value: format(dot.seconds, unit), colour: "transparent" }] : [];
}

function scale({ mode, scheme, reverse, exponent = 0.5, scale: kind, fill }, most, theme) {
  return (value) => {
    const share = Math.min(1, value / most);
    const bent = kind === "linear" ? share : share ** exponent;
    return mode === "opacity" ? faded(fill ?? "#56b4e9", Math.max(0.05, bent)) : shade(scheme, bent, reverse, theme);
  };
}

function drawCells(plot, rows, tones, options) {
  const { ctx, bbox } = plot;
  const times = plot.data[0];
  const gap = (options.cellGap ?? 1) * devicePixelRatio;
  const step = plot.valToPos(times[1] ?? times[0] + 1, "x", true) - plot.valToPos(times[0], "x", true);
  const least = options.filterValues?.le ?? 0;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  rows.forEach((row, level) => {
    const [top, bottom] = [plot.valToPos(level + 1, "y", true), plot.valToPos(level, "y", true)];
    row.values.forEach((value, at) => {
      if (value === null || value <= least) return;
      ctx.fillStyle = tones(value);
      const right = plot.valToPos(times[at], "x", true);
      ctx.fillRect(right - step, top, Math.max(1, step - (step > 4 ? gap : 0)), Math.max(1, bottom - top - gap));
    });
  });
  ctx.restore();
}

function everyFew(count, height) {
  const few = Math.max(1, Math.ceil((count * 16) / Math.max(60, height - 40)));
  return Array.from({ length: Math.floor(count / few) + 1 }, (_, index) => index * few);
}

function tipLines(rows, names, index, level, unit, tones) {
  const row = rows[level];
  if (!row) return [];
  const value = row.values[index];
  return [
    {
      name: `${level === 0 ? "0" : names[level - 1]} to ${names[level]}`,
      value: format(value, unit),
      colour: value ? tones(value) : null,
    },
  ];
}

function drawScale(host, most, unit, { color = {}, legend }, theme) {
  host.hidden = legend?.show === false;
  const stops = Array.from({ length: 9 }, (_, index) => scale({ ...color, scale: "linear" }, 1, theme)(index / 8));
  host.replaceChildren(
    element(
      "span",
      { class: "gh-scale" },
      "0",
      element("i", { style: { background: `linear-gradient(90deg, ${stops.join(", ")})` } }),
      format(most, unit),
    ),
  );
}
