// The current value of each series as a horizontal bar.

import { colourOf, themeOf } from "glasshouse/colours.js";
import { element } from "glasshouse/dom.js";
import { newest, seriesOf, textOf } from "glasshouse/fields.js";

/** Draws the panel. */
export function draw(body, view) {
  const theme = themeOf(body);
  const bars = seriesOf(view.panel, view.answer).map((line, index, all) => {
    const value = newest(line.values);
    // as in Grafana, which names a single bar only if the panel sets a display name
    const name = all.length === 1 && !line.field.displayName ? "" : line.name;
    return { ...line, name, value, colour: colourOf(line.field, index, value, theme) };
  });
  const most = Math.max(...bars.map(({ value }) => value ?? 0), 1e-12);
  const rows = bars.map(({ name, value, field, colour }) => {
    const share = Math.max(0, (value ?? 0) / most);
    const fill = element("span", { class: "gh-bar-fill", style: { background: colour, width: `${share * 100}%` } });
    return element(
      "div",
      { class: "gh-bar" },
      element("span", { class: "gh-bar-name", title: name }, name),
      element("span", { class: "gh-bar-track" }, fill),
      element("span", { class: "gh-bar-value", style: { color: colour } }, textOf(field, value)),
    );
  });
  const isAbove = view.panel.options?.namePlacement === "top";
  body.replaceChildren(element("div", { class: isAbove ? "gh-bars gh-names-above" : "gh-bars" }, ...rows));
}
