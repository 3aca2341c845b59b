// A panel's body with a chart and a legend, and what was hidden by pressing names in it.

import { element } from "glasshouse/dom.js";

const bodies = new WeakMap();

/** The places of chart and legend in a body, made when first asked for. */
export function chartWithLegend(body, options) {
  if (!bodies.has(body)) {
    const chart = element("div", { class: "gh-chart" });
    const legend = element("div", { class: "gh-legend" });
    bodies.set(body, { chart, legend, hidden: new Set() });
  }
  const { chart, legend } = bodies.get(body);
  body.classList.toggle("gh-legend-right", options?.legend?.placement === "right");
  if (chart.parentNode !== body) body.replaceChildren(chart, legend);
  return { chart, legend };
}

/** Names of the series that the reader has hidden. */
export function hiddenOf(body) {
  return bodies.get(body).hidden;
}
