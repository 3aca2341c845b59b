// One figure a series, over its course in the chosen time.

import { colourOf, faded, inkOn, legible, named, themeOf } from "glasshouse/colours.js";
import { drawing, element } from "glasshouse/dom.js";
import { mappingOf, reduce, seriesOf, textOf } from "glasshouse/fields.js";

/** Draws the panel. */
export function draw(body, view) {
  const theme = themeOf(body);
  const { options = {} } = view.panel;
  const series = seriesOf(view.panel, view.answer);
  const namesAreShown =
    options.textMode === "value_and_name" ||
    options.textMode === "name" ||
    (options.textMode !== "value" && series.length > 1);
  body.replaceChildren(
    element(
      "div",
      { class: "gh-stats" },
      ...series.map((line, index) => {
        const value = reduce(line.values, options.reduceOptions?.calcs?.[0]);
        const mapped = mappingOf(line.field, value)?.color;
        const colour = mapped ? legible(named(mapped, theme), theme) : colourOf(line.field, index, value, theme);
        const isGround = options.colorMode === "background";
        const text = textOf(line.field, value);
        return element(
          "div",
          { class: "gh-stat", style: isGround ? { background: colour, color: inkOn(colour) } : {} },
          options.graphMode === "area" ? course(line, isGround ? inkOn(colour) : colour) : null,
          namesAreShown ? element("div", { class: "gh-stat-name" }, line.name) : null,
          options.textMode === "name"
            ? null
            : element(
                "div",
                {
                  class: "gh-stat-value",
                  style: {
                    color: isGround || options.colorMode === "none" ? "inherit" : colour,
                    "--length": String(Math.max(4, text.length)),
                  },
                },
                text,
              ),
        );
      }),
    ),
  );
}

function course({ values, field }, colour) {
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
  return drawing(
    "svg",
    { viewBox: "0 0 100 31", preserveAspectRatio: "none", class: "gh-course", "aria-hidden": "true" },
    drawing("path", { d: `M${first},31 L${points.join(" L")} L${last},31 Z`, fill: faded(colour, 0.16) }),
    drawing("path", {
      d: `M${points.join(" L")}`,
      fill: "none",
      stroke: colour,
      "stroke-width": "1.5",
      "vector-effect": "non-scaling-stroke",
    }),
  );
}
