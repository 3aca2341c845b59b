// The current value of each series on an arc between its minimum and maximum.

import { colourOf, legible, steps, themeOf } from "glasshouse/colours.js";
import { drawing, element } from "glasshouse/dom.js";
import { newest, seriesOf, textOf } from "glasshouse/fields.js";

const [CX, CY] = [50, 50];
const FROM = Math.PI * 1.1;
const SWEEP = Math.PI * 1.2;

/** Draws the panel. */
export function draw(body, view) {
  const theme = themeOf(body);
  const series = seriesOf(view.panel, view.answer);
  const gauges = series.map((line, index) => {
    const value = newest(line.values);
    const gauge = gaugeOf(line.field, value, colourOf(line.field, index, value, theme), theme);
    return element("figure", { class: "gh-gauge" }, gauge, series.length > 1 && element("figcaption", {}, line.name));
  });
  body.replaceChildren(element("div", { class: "gh-gauges" }, ...gauges));
}

function gaugeOf(field, value, colour, theme) {
  const [low, high] = [field.min ?? 0, field.max ?? 100];
  const share = (of) => Math.min(1, Math.max(0, (of - low) / (high - low || 1)));
  const text = textOf(field, value);
  const parts = [arc(0, 1, 40, 11, theme.grid)];
  if (value !== null) parts.push(arc(0, share(value), 40, 11, colour));
  steps(field).forEach((step, index, all) => {
    const begin = step.value === null ? 0 : share(step.value);
    const end = index + 1 < all.length ? share(all[index + 1].value) : 1;
    if (end > begin) parts.push(arc(begin, end, 48, 2.5, legible(step.color, theme)));
  });
  const size = Math.min(19, 92 / Math.max(4, text.length));
  const look = { x: CX, y: CY + 6, "text-anchor": "middle", "font-size": size, "font-weight": 600, fill: colour };
  return drawing(
    "svg",
    { viewBox: "0 0 100 74", role: "img", "aria-label": text },
    ...parts,
    drawing("text", look, text),
  );
}

function arc(from, to, radius, width, colour) {
  const point = (share) => {
    const angle = FROM - SWEEP * share;
    return `${(CX + radius * Math.cos(angle)).toFixed(2)} ${(CY - radius * Math.sin(angle)).toFixed(2)}`;
  };
  const isLarge = (to - from) * SWEEP > Math.PI ? 1 : 0;
  return drawing("path", {
    d: `M${point(from)} A${radius} ${radius} 0 ${isLarge} 1 ${point(to)}`,
    fill: "none",
    stroke: colour,
    "stroke-width": width,
  });
}
