// The distribution of a duration over time: one row per bucket, brighter cells have more samples.

import { shade, themeOf } from "glasshouse/colours.js";
import { element } from "glasshouse/dom.js";
import { chartWithLegend } from "glasshouse/legend.js";
import { exemplarsOf, rowAxis, rowSeries, timeChart, timesOf } from "glasshouse/timechart.js";
import { format } from "glasshouse/units.js";

/** Draws the panel. */
export function draw(body, view) {
  const theme = themeOf(body);
  const { options = {} } = view.panel;
  const { chart, legend } = chartWithLegend(body);
  const rows = buckets(view.answer.results.flatMap((result) => result.lines));
  const unit = options.yAxis?.unit ?? "s";
  const count = options.cellValues?.unit ?? "short";
  const most = Math.max(...rows.flatMap((row) => row.values.map((value) => value ?? 0)), 1e-12);
  const { exponent = 0.5, reverse } = options.color ?? {};
  const tone = (value) => shade(Math.min(1, value / most) ** exponent, reverse, theme);
  const names = rows.map((row) => (row.le === Infinity ? "+Inf" : format(row.le, unit)));
  timeChart(chart, view, {
    signature: JSON.stringify(names),
    data: [timesOf(view.answer), ...rows.map((row) => row.values)],
    series: rowSeries(rows),
    showsPoints: false,
    scales: { y: { range: () => [0, rows.length] } },
    axes: [
      rowAxis(theme, {
        splits: (plot) => everyFew(rows.length, plot.height),
        values: (plot, splits) => splits.map((at) => (at === 0 ? "0" : names[at - 1])),
      }),
    ],
    over: (plot) => drawCells(plot, rows, tone, options),
    exemplars: placed(exemplarsOf(view.answer), rows),
    exemplarText: (dot) => format(dot.seconds, unit),
    tip: (index, plot) => {
      const level = Math.floor(plot.posToVal(plot.cursor.top, "y"));
      const value = rows[level]?.values[index];
      if (!rows[level]) return [];
      const name = `${level === 0 ? "0" : names[level - 1]} to ${names[level]}`;
      return [{ name, value: format(value, count), colour: value ? tone(value) : null }];
    },
  });
  const stops = Array.from({ length: 9 }, (_, index) => shade(index / 8, reverse, theme));
  const gradient = element("i", { style: { background: `linear-gradient(90deg, ${stops.join(", ")})` } });
  legend.replaceChildren(element("span", { class: "gh-scale" }, "0", gradient, format(most, count)));
}

// Prometheus' buckets are cumulative: each also counts the samples of the smaller ones
function buckets(lines) {
  const sorted = lines
    .map((line) => ({ le: line.labels.le === "+Inf" ? Infinity : Number.parseFloat(line.labels.le), values: line.values }))
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

// the position of an exemplar is the row of its bucket, plus its share of the bucket's range
function placed(exemplars, rows) {
  return exemplars.flatMap((dot) => {
    const level = rows.findIndex((row) => dot.value <= row.le);
    if (level < 0) return [];
    const { from, le } = rows[level];
    return [{ ...dot, seconds: dot.value, value: level + (le === Infinity ? 0.5 : (dot.value - from) / (le - from)) }];
  });
}

function drawCells(plot, rows, tone, options) {
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
      ctx.fillStyle = tone(value);
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
