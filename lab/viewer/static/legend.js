// The legend under or beside a chart: names, and figures where the panel asks for them.

import { element } from "glasshouse/dom.js";
import { reduce, textOf } from "glasshouse/fields.js";

const HEADINGS = { lastNotNull: "last", firstNotNull: "first", last: "last" };

/** Draws the legend of series with `colour` and `field`. `toggle(name)` is called when a name is pressed. */
export function drawLegend(host, options, series, hidden, toggle) {
  const legend = options?.legend ?? {};
  host.hidden = legend.showLegend === false || legend.displayMode === "hidden";
  if (host.hidden) return;
  const entry = ({ name, colour }) =>
    element(
      "button",
      {
        type: "button",
        class: "gh-legend-name",
        "aria-pressed": String(!hidden.has(name)),
        title: "Show this alone; again for all",
        onclick: () => toggle(name),
      },
      element("i", { class: "gh-swatch", style: { background: colour } }),
      name,
    );
  const figures = legend.calcs ?? [];
  host.classList.toggle("gh-legend-table", legend.displayMode === "table");
  if (legend.displayMode !== "table") {
    host.replaceChildren(
      ...series.map((line) =>
        element(
          "span",
          { class: "gh-legend-item" },
          entry(line),
          ...figures.map((figure) =>
            element(
              "span",
              { class: "gh-faint" },
              ` ${HEADINGS[figure] ?? figure}: ${textOf(line.field, reduce(line.values, figure))}`,
            ),
          ),
        ),
      ),
    );
    return;
  }
  host.replaceChildren(
    element(
      "table",
      {},
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          element("th", { scope: "col" }, "Name"),
          ...figures.map((figure) => element("th", { scope: "col" }, HEADINGS[figure] ?? figure)),
        ),
      ),
      element(
        "tbody",
        {},
        ...series.map((line) =>
          element(
            "tr",
            {},
            element("th", { scope: "row" }, entry(line)),
            ...figures.map((figure) => element("td", {}, textOf(line.field, reduce(line.values, figure)))),
          ),
        ),
      ),
    ),
  );
}
