// A bar for each series, now.

import { colourOf, faded, themeOf } from "glasshouse/colours.js";
import { element } from "glasshouse/dom.js";
import { reduce, seriesOf, textOf } from "glasshouse/fields.js";

/** Draws the panel. */
export function draw(body, view) {
  const theme = themeOf(body);
  const { options = {} } = view.panel;
  const bars = seriesOf(view.panel, view.answer).map((line, index) => {
    const value = reduce(line.values, options.reduceOptions?.calcs?.[0]);
    return { ...line, value, colour: colourOf(line.field, index, value, theme) };
  });
  const most = Math.max(...bars.map(({ value, field }) => field.max ?? value ?? 0), 1e-12);
  const isUpright = options.orientation === "vertical";
  body.replaceChildren(
    element(
      "div",
      { class: isUpright ? "gh-bars gh-upright" : "gh-bars" },
      ...bars.map((bar) => {
        const low = bar.field.min ?? 0;
        const share = `${(Math.min(1, Math.max(0, ((bar.value ?? low) - low) / ((bar.field.max ?? most) - low || 1))) * 100).toFixed(2)}%`;
        const colour =
          options.displayMode === "gradient"
            ? `linear-gradient(${isUpright ? "0deg" : "90deg"}, ${faded(bar.colour, 0.35)}, ${bar.colour})`
            : bar.colour;
        return element(
          "div",
          { class: "gh-bar" },
          element("span", { class: "gh-bar-name", title: bar.name }, bar.name),
          element(
            "span",
            { class: "gh-bar-track" },
            element("span", {
              class: "gh-bar-fill",
              style: { background: colour, [isUpright ? "height" : "width"]: share },
            }),
          ),
          element("span", { class: "gh-bar-value", style: { color: bar.colour } }, textOf(bar.field, bar.value)),
        );
      }),
    ),
  );
}
