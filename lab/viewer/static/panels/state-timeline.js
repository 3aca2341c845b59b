// The state of each series over time, as a band for each.

import { colourOf, inkOn, legible, named, steps, themeOf } from "glasshouse/colours.js";
import { mappingOf, seriesOf, textOf } from "glasshouse/fields.js";
import { element } from "glasshouse/dom.js";
import { axis, timeChart, timesOf, widthOf } from "glasshouse/timechart.js";
import { chartWithLegend } from "glasshouse/panels/charted.js";

// rows that Grafana shows at once where the panel does not say; 0 turns paging off
const PER_PAGE = 20;

/** Draws the panel. */
export function draw(body, view) {
  const theme = themeOf(body);
  const { chart, legend } = chartWithLegend(body, view.panel.options);
  const all = seriesOf(view.panel, view.answer);
  const { series, pager } = pageOf(body, view, all);
  const isMerged = view.panel.options?.mergeValues !== false;
  const text = (line, value) => (isMerged ? (bandOf(line.field, value) ?? textOf(line.field, value)) : textOf(line.field, value));
  const colour = (line, value) => {
    const mapped = isMerged && isByThreshold(line.field) ? null : mappingOf(line.field, value)?.color;
    return mapped ? legible(named(mapped, theme), theme) : colourOf(line.field, all.indexOf(line), value, theme);
  };
  const longest = Math.floor((chart.clientWidth || 400) / 3 / 6.4);
  const names = series.map((line) => (line.name.length > longest ? `${line.name.slice(0, longest - 1)}…` : line.name));
  timeChart(chart, view, {
    signature: JSON.stringify(series.map((line) => line.name)),
    data: [timesOf(view.answer), ...series.map((line) => line.values)],
    series: series.map(() => ({ paths: () => null, points: { show: false } })),
    showsPoints: false,
    scales: { y: { range: () => [0, series.length] } },
    axes: [
      axis(theme, {
        side: 3,
        grid: { show: false },
        size: () => widthOf(names),
        splits: () => series.map((_, index) => index + 0.5),
        values: (plot, splits) => splits.map((at) => names[series.length - 1 - Math.floor(at)]),
      }),
    ],
    over: (plot) => drawBands(plot, series, colour, text, view.panel.options ?? {}),
    tip: (index, plot) => {
      const line = series[series.length - 1 - Math.floor(plot.posToVal(plot.cursor.top, "y"))];
      return line
        ? [{ name: line.name, value: text(line, line.values[index]), colour: colour(line, line.values[index]) }]
        : [];
    },
  });
  const states = new Map(
    series.flatMap((line) =>
      line.values.filter((value) => value !== null).map((value) => [text(line, value), colour(line, value)]),
    ),
  );
  legend.hidden = view.panel.options?.legend?.showLegend === false;
  legend.replaceChildren(
    ...(pager ? [pager] : []),
    ...[...states]
      .slice(0, 12)
      .map(([state, shown]) =>
        element(
          "span",
          { class: "gh-legend-item" },
          element("i", { class: "gh-swatch", style: { background: shown } }),
          state,
        ),
      ),
  );
}

const pages = new WeakMap();

// what Grafana has on the page that is shown, and what turns the pages
function pageOf(body, view, all) {
  const perPage = view.panel.options?.perPage ?? PER_PAGE;
  if (!perPage) return { series: all, pager: null };
  const count = Math.max(1, Math.ceil(all.length / perPage));
  const page = Math.min(pages.get(body) ?? 0, count - 1);
  const turn = (to) => {
    pages.set(body, to);
    draw(body, view);
  };
  const button = (label, to) =>
    element("button", { type: "button", class: "gh-small", disabled: to < 0 || to >= count, onclick: () => turn(to) }, label);
  const pager = element(
    "span",
    { class: "gh-pager" },
    button("‹", page - 1),
    `page ${page + 1} of ${count}`,
    button("›", page + 1),
  );
  return { series: all.slice(page * perPage, (page + 1) * perPage), pager };
}

function isByThreshold(field) {
  return field.color?.mode === "thresholds";
}

// Grafana merges values of one threshold band under colour mode "thresholds", and then names the band instead
function bandOf(field, value) {
  const bounds = steps(field);
  if (!isByThreshold(field) || bounds.length === 0 || value === null) return null;
  const place = bounds.findLastIndex((step) => step.value === null || value >= step.value);
  return place <= 0 ? `< ${bounds[1]?.value ?? "∞"}` : `${bounds[place].value}+`;
}

function drawBands(plot, series, colour, textFor, options) {
  const { ctx, bbox } = plot;
  const times = plot.data[0];
  const step = (times[1] ?? times[0] + 1) - times[0];
  const x = (at) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, plot.valToPos(at, "x", true)));
  ctx.save();
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  series.forEach((line, index) => {
    const [top, bottom] = [
      plot.valToPos(series.length - index, "y", true),
      plot.valToPos(series.length - 1 - index, "y", true),
    ];
    const height = (bottom - top) * (options.rowHeight ?? 0.9);
    for (const span of spans(line.values, options.mergeValues !== false)) {
      const [left, right] = [x(times[span.from]), x(times[span.to] + step)];
      const ground = colour(line, span.value);
      ctx.globalAlpha = (line.field.custom.fillOpacity ?? 85) / 100;
      ctx.fillStyle = ground;
      ctx.fillRect(left, top + (bottom - top - height) / 2, Math.max(1, right - left), height);
      ctx.globalAlpha = 1;
      const text = textFor(line, span.value);
      const fits = ctx.measureText(text).width + 8 * devicePixelRatio < right - left;
      if (options.showValue !== "never" && fits) {
        ctx.fillStyle = inkOn(ground);
        ctx.fillText(text, left + 4 * devicePixelRatio, (top + bottom) / 2);
      }
    }
  });
  ctx.restore();
}

function spans(values, areMerged) {
  const found = [];
  values.forEach((value, at) => {
    const last = found.at(-1);
    if (value === null) return;
    if (areMerged && last && last.value === value && last.to === at - 1) last.to = at;
    else found.push({ value, from: at, to: at });
  });
  return found;
}
