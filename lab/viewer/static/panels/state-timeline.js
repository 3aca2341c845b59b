// The state of each series over time, one row per series.

import { inkOn, stateColour, steps, themeOf } from "glasshouse/colours.js";
import { button, element } from "glasshouse/dom.js";
import { mappingOf, seriesOf, textOf } from "glasshouse/fields.js";
import { chartWithLegend, drawLegend } from "glasshouse/legend.js";
import { rowAxis, rowSeries, timeChart, timesOf } from "glasshouse/timechart.js";

// Grafana's default number of rows per page; 0 turns paging off
const PER_PAGE = 20;
const MAX_STATES = 12;
const pages = new WeakMap();

/** Draws the panel. */
export function draw(body, view) {
  const theme = themeOf(body);
  const { options = {} } = view.panel;
  const { chart, legend } = chartWithLegend(body);
  const all = seriesOf(view.panel, view.answer);
  const { series, pager } = pageOf(body, view, all);
  const text = (line, value) => thresholdBand(line.field, value) ?? textOf(line.field, value);
  const colour = (line, value) => {
    const mapping = isByThreshold(line.field) ? null : mappingOf(line.field, value);
    return stateColour(line.field, mapping, all.indexOf(line), value, theme);
  };
  const longest = Math.floor((chart.clientWidth || 400) / 3 / 6.4);
  const names = series.map(({ name }) => (name.length > longest ? `${name.slice(0, longest - 1)}…` : name));
  timeChart(chart, view, {
    signature: JSON.stringify(series.map((line) => line.name)),
    data: [timesOf(view.answer), ...series.map((line) => line.values)],
    series: rowSeries(series),
    showsPoints: false,
    scales: { y: { range: () => [0, series.length] } },
    axes: [
      rowAxis(theme, {
        splits: () => series.map((_, index) => index + 0.5),
        values: (plot, splits) => splits.map((at) => names[series.length - 1 - Math.floor(at)]),
      }),
    ],
    over: (plot) => drawSpans(plot, series, colour, text, options),
    tip: (index, plot) => {
      const line = series[series.length - 1 - Math.floor(plot.posToVal(plot.cursor.top, "y"))];
      const value = line?.values[index];
      return line ? [{ name: line.name, value: text(line, value), colour: colour(line, value) }] : [];
    },
  });
  const states = new Map(
    series.flatMap((line) =>
      line.values.filter((value) => value !== null).map((value) => [text(line, value), colour(line, value)]),
    ),
  );
  drawLegend(legend, [...states].slice(0, MAX_STATES).map(([name, shown]) => ({ name, colour: shown })));
  if (pager) legend.prepend(pager);
}

// the rows of the current page, and the buttons for paging
function pageOf(body, view, all) {
  const perPage = view.panel.options?.perPage ?? PER_PAGE;
  if (!perPage) return { series: all, pager: null };
  const count = Math.max(1, Math.ceil(all.length / perPage));
  const page = Math.min(pages.get(body) ?? 0, count - 1);
  const turn = (label, to) => {
    const onclick = () => {
      pages.set(body, to);
      draw(body, view);
    };
    return button(label, { class: "gh-small", disabled: to < 0 || to >= count, onclick });
  };
  const words = `page ${page + 1} of ${count}`;
  const pager = element("span", { class: "gh-pager" }, turn("‹", page - 1), words, turn("›", page + 1));
  return { series: all.slice(page * perPage, (page + 1) * perPage), pager };
}

function isByThreshold(field) {
  return field.color?.mode === "thresholds";
}

// with colour mode "thresholds", Grafana merges the values of a threshold band and shows the band instead of the value
function thresholdBand(field, value) {
  const bounds = steps(field);
  if (!isByThreshold(field) || bounds.length === 0 || value === null) return null;
  const place = bounds.findLastIndex((step) => step.value === null || value >= step.value);
  return place <= 0 ? `< ${bounds[1]?.value ?? "∞"}` : `${bounds[place].value}+`;
}

function drawSpans(plot, series, colour, textFor, options) {
  const { ctx, bbox } = plot;
  const times = plot.data[0];
  const step = (times[1] ?? times[0] + 1) - times[0];
  const x = (at) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, plot.valToPos(at, "x", true)));
  ctx.save();
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  series.forEach((line, index) => {
    const [top, bottom] = [series.length - index, series.length - 1 - index].map((at) => plot.valToPos(at, "y", true));
    const height = (bottom - top) * (options.rowHeight ?? 0.9);
    for (const span of spans(line.values)) {
      const [left, right] = [x(times[span.from]), x(times[span.to] + step)];
      const ground = colour(line, span.value);
      ctx.globalAlpha = (line.field.custom.fillOpacity ?? 85) / 100;
      ctx.fillStyle = ground;
      ctx.fillRect(left, top + (bottom - top - height) / 2, Math.max(1, right - left), height);
      ctx.globalAlpha = 1;
      const text = textFor(line, span.value);
      if (ctx.measureText(text).width + 8 * devicePixelRatio < right - left) {
        ctx.fillStyle = inkOn(ground);
        ctx.fillText(text, left + 4 * devicePixelRatio, (top + bottom) / 2);
      }
    }
  });
  ctx.restore();
}

function spans(values) {
  const found = [];
  values.forEach((value, at) => {
    const last = found.at(-1);
    if (value === null) return;
    if (last?.value === value && last.to === at - 1) last.to = at;
    else found.push({ value, from: at, to: at });
  });
  return found;
}
