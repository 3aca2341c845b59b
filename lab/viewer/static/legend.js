// The chart and the legend of a panel, and which series the user has hidden.

import { element, swatch } from "glasshouse/dom.js";

const bodies = new WeakMap();

/** The elements of chart and legend in a panel's body, and the names of hidden series. Created at the first call. */
export function chartWithLegend(body) {
  if (!bodies.has(body)) {
    const chart = element("div", { class: "gh-chart" });
    bodies.set(body, { chart, legend: element("div", { class: "gh-legend" }), hidden: new Set() });
  }
  const parts = bodies.get(body);
  if (parts.chart.parentNode !== body) body.replaceChildren(parts.chart, parts.legend);
  return parts;
}

/** Draws a legend of `{name, colour}`. With `toggle(name)`, names are buttons that show one series alone. */
export function drawLegend(legend, entries, hidden = new Set(), toggle = null) {
  legend.replaceChildren(
    ...entries.map(({ name, colour }) => {
      const pressed = {
        type: "button",
        class: "gh-legend-name",
        "aria-pressed": String(!hidden.has(name)),
        title: "Show only this series; press again to show all",
        onclick: () => toggle(name),
      };
      const item = toggle ? element("button", pressed, swatch(colour), name) : [swatch(colour), name];
      return element("span", { class: "gh-legend-item" }, item);
    }),
  );
}
