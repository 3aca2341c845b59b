// The current value of each series, with a sparkline of the selected time range.

import { faded, stateColour, themeOf } from "glasshouse/colours.js";
import { drawing, element } from "glasshouse/dom.js";
import { mappingOf, reduced, seriesOf, textOf } from "glasshouse/fields.js";

/** Draws the panel. */
export function draw(body, view) {
  const theme = themeOf(body);
  const series = seriesOf(view.panel, view.answer);
  const stats = series.map((line, index) => {
    const value = reduced(view.panel, line.values);
    const colour = stateColour(line.field, mappingOf(line.field, value), index, value, theme);
    const text = textOf(line.field, value);
    return element(
      "div",
      { class: "gh-stat" },
      view.panel.options?.graphMode === "area" && sparkline(line, colour),
      series.length > 1 && element("div", { class: "gh-stat-name" }, line.name),
      element(
        "div",
        { class: "gh-stat-value", style: { color: colour, "--length": String(Math.max(4, text.length)) } },
        text,
      ),
    );
  });
  body.replaceChildren(element("div", { class: "gh-stats" }, ...stats));
}

function sparkline({ values, field }, colour) {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return null;
  const low = field.min ?? Math.min(...known);
  const span = Math.max((field.max ?? Math.max(...known)) - low, 1e-12);
  const y = (value) => 30 - 28 * Math.min(1, Math.max(0, (value - low) / span));
  const points = values
    .map((value, at) => [at, value])
    .filter(([, value]) => value !== null)
    .map(([at, value]) => `${((at / Math.max(1, values.length - 1)) * 100).toFixed(2)},${y(value).toFixed(2)}`);
  const [first, last] = [points[0].split(",")[0], points.at(-1).split(",")[0]];
  const line = { fill: "none", stroke: colour, "stroke-width": "1.5", "vector-effect": "non-scaling-stroke" };
  return drawing(
    "svg",
    { viewBox: "0 0 100 31", preserveAspectRatio: "none", class: "gh-course", "aria-hidden": "true" },
    drawing("path", { d: `M${first},31 L${points.join(" L")} L${last},31 Z`, fill: faded(colour, 0.16) }),
    drawing("path", { d: `M${points.join(" L")}`, ...line }),
  );
}
