// What all charts over time share: the time axis, crosshair, zoom, annotations, exemplars, and reuse between refreshes.

import { faded, themeOf } from "glasshouse/colours.js";
import { moment } from "glasshouse/times.js";
import { hideTip, showTip } from "glasshouse/tip.js";

const FONT = "11px system-ui, sans-serif";
const charts = new WeakMap();

/**
 * Draws a chart into `body`, or updates the data of the existing one if `plan.signature` has not changed.
 *
 * `plan`: signature; data (uPlot's rows: times, then one row per series); series, scales, axes and bands as for uPlot;
 * `over(chart)` draws on top of the series; `showsPoints: false` hides points at the crosshair; `tip(index, chart)`
 * returns the lines of the tooltip; `exemplars` have a `value` on the y scale, and `exemplarText(dot)` their duration.
 */
export function timeChart(body, view, plan) {
  const known = charts.get(body);
  if (known && known.signature === plan.signature && known.theme === view.theme) {
    Object.assign(known.live, { view, plan });
    known.chart.setData(plan.data, true);
    return;
  }
  forget(body);
  const live = { view, plan };
  const chart = new uPlot(options(body, live), plan.data, body);
  const sized = new ResizeObserver(() => chart.setSize(sizeOf(body)));
  sized.observe(body);
  charts.set(body, { chart, live, sized, signature: plan.signature, theme: view.theme });
}

/** Removes the chart of an element, if it has one. */
export function forget(body) {
  const known = charts.get(body);
  if (!known) return;
  known.sized.disconnect();
  known.chart.destroy();
  charts.delete(body);
}

/** The times of an answer, in unix seconds. */
export function timesOf(answer) {
  return Array.from({ length: answer.count }, (_, index) => answer.start + index * answer.step);
}

/** The exemplars of an answer that have a value. */
export function exemplarsOf(answer) {
  return answer.results.flatMap((result) => result.exemplars).filter((dot) => dot.value !== null);
}

/** A value axis. */
export function axis(theme, rest) {
  const look = { stroke: theme.faint, font: FONT, grid: { stroke: theme.grid, width: 1 }, ticks: { show: false } };
  return { ...look, size: (chart, labels) => widthOf(labels ?? []), ...rest };
}

/** The axis of a chart with rows of names instead of values. */
export function rowAxis(theme, rest) {
  return axis(theme, { grid: { show: false }, ...rest });
}

/** uPlot's series for rows that `over` draws. */
export function rowSeries(rows) {
  return rows.map(() => ({ paths: () => null, points: { show: false } }));
}

function widthOf(labels) {
  return Math.max(34, 14 + Math.max(0, ...labels.map((label) => String(label).length)) * 6.4);
}

function sizeOf(body) {
  return { width: Math.max(80, body.clientWidth), height: Math.max(60, body.clientHeight) };
}

function options(body, live) {
  const theme = themeOf(body);
  const { plan } = live;
  return {
    ...sizeOf(body),
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: {
      sync: live.view.group ? { key: live.view.group, setSeries: false } : undefined,
      drag: { x: Boolean(live.view.zoom), y: false, setScale: false },
      points: plan.showsPoints === false ? { show: false } : { size: 6 },
      focus: { prox: 24 },
    },
    scales: { x: { time: true, range: () => [live.view.answer.start, lastTime(live.view.answer)] }, ...plan.scales },
    axes: [
      axis(theme, {
        size: 24,
        space: (chart, index, from, to, width) => (((to - from) / width) * 70 < 60 ? 70 : 50),
        values: (chart, splits, index, space, every) => splits.map((at) => clock(at, every)),
      }),
      ...plan.axes,
    ],
    series: [{}, ...plan.series],
    bands: plan.bands,
    hooks: {
      draw: [
        (chart) => live.plan.over?.(chart),
        (chart) => drawExemplars(chart, live.plan.exemplars ?? [], theme),
        (chart) => drawMarks(chart, live.view.marks),
      ],
      setSelect: [(chart) => zoomTo(chart, live.view)],
      setCursor: [(chart) => tipAt(chart, live)],
      ready: [
        (chart) =>
          chart.over.addEventListener("click", () => {
            const dot = nearestExemplar(chart, live.plan);
            if (dot) live.view.showTraces(dot);
          }),
      ],
    },
  };
}

function lastTime({ start, step, count }) {
  return start + step * Math.max(1, count - 1);
}

// a label of the time axis, with as much precision as labels that are `every` seconds apart need
function clock(at, every) {
  const date = new Date(at * 1000);
  if (every >= 86400) return date.toLocaleDateString(undefined, { month: "short", day: "numeric" });
  const whole = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return date.toLocaleTimeString(undefined, every < 60 ? { ...whole, second: "2-digit" } : whole);
}

function zoomTo(chart, view) {
  const { left, width } = chart.select;
  if (width < 6) return;
  const [from, to] = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")];
  chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  view.zoom(Math.round(from * 1000), Math.round(to * 1000));
}

function tipAt(chart, { view, plan }) {
  const { idx, left, top } = chart.cursor;
  // without the pointer over it, the crosshair only follows that of another chart
  if (idx === null || idx === undefined || left < 0 || !chart.over.matches(":hover")) {
    hideTip(chart);
    return;
  }
  const at = chart.posToVal(left, "x");
  const near = (chart.scales.x.max - chart.scales.x.min) * (5 / chart.over.clientWidth);
  const marked = view.marks.filter((mark) => at >= mark.start - near && at <= mark.end + near);
  const dot = nearestExemplar(chart, plan);
  const box = chart.over.getBoundingClientRect();
  const lines = [
    ...plan.tip(idx, chart),
    ...(dot ? [{ name: `trace ${dot.traceId}`, value: plan.exemplarText(dot), colour: null }] : []),
    ...marked.map((mark) => ({ name: mark.title, value: mark.text, colour: mark.colour })),
  ];
  showTip(chart, box.left + left, box.top + top, moment(chart.data[0][idx]), lines);
}

function drawMarks(chart, marks) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height + 4 * devicePixelRatio);
  ctx.clip();
  for (const mark of marks) {
    const [from, to] = [chart.valToPos(mark.start, "x", true), chart.valToPos(mark.end, "x", true)];
    const thin = devicePixelRatio;
    // like Grafana, in the colour as it is
    ctx.strokeStyle = mark.colour;
    ctx.lineWidth = 2 * thin;
    ctx.setLineDash([4 * thin, 3 * thin]);
    ctx.beginPath();
    ctx.moveTo(from, bbox.top);
    ctx.lineTo(from, bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillStyle = faded(mark.colour, 0.9);
    // the duration is a bar below the axis, where it cannot be mistaken for data
    ctx.fillRect(from, bbox.top + bbox.height + thin, Math.max(3 * thin, to - from), 3 * thin);
  }
  ctx.restore();
}

// exemplars are diamonds
function drawExemplars(chart, dots, theme) {
  const { ctx } = chart;
  const size = 3.5 * devicePixelRatio;
  ctx.save();
  for (const dot of dots) {
    if (dot.time < chart.scales.x.min || dot.time > chart.scales.x.max) continue;
    const [x, y] = [chart.valToPos(dot.time, "x", true), chart.valToPos(dot.value, "y", true)];
    ctx.beginPath();
    ctx.moveTo(x, y - size);
    ctx.lineTo(x + size, y);
    ctx.lineTo(x, y + size);
    ctx.lineTo(x - size, y);
    ctx.closePath();
    ctx.fillStyle = theme.text;
    ctx.strokeStyle = theme.ground;
    ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}

// the exemplar under the pointer, or undefined
function nearestExemplar(chart, { exemplars = [] }) {
  const { left, top } = chart.cursor;
  const far = (dot) => Math.hypot(chart.valToPos(dot.time, "x") - left, chart.valToPos(dot.value, "y") - top);
  return exemplars.filter((dot) => far(dot) < 9).sort((a, b) => far(a) - far(b))[0];
}
