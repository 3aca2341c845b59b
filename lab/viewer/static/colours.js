// Colours of the dashboards' JSON (hexadecimal only), thresholds, the heatmap's scheme, and contrast in both themes.

// Okabe and Ito's colours, which colour-blind readers can distinguish (https://jfly.uni-koeln.de/color/), for series
// without a colour in the JSON
const SERIES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999"];

// some stops of d3-scale-chromatic's scheme Cool
const COOL = ["#6e40aa", "#5c5ace", "#417de0", "#27a3dc", "#1ac7c2", "#21e39b", "#40f373", "#73f65a", "#aff05b"];

/** The colours of background, text and grid around an element, in the current theme. */
export function themeOf(node) {
  const style = getComputedStyle(node.closest(".gh") ?? document.body);
  const read = (name) => style.getPropertyValue(name).trim();
  return { ground: read("--gh-panel"), text: read("--gh-text"), faint: read("--gh-faint"), grid: read("--gh-grid") };
}

/**
 * The colour of a series or a value: fixed, by threshold, or from the palette. Its contrast with the background is at
 * least `contrast`: 3 for text (WCAG 1.4.11); lines need less.
 */
export function colourOf(field, place, value, theme, contrast = 3) {
  const mode = field.color?.mode ?? "palette-classic";
  const colour =
    mode === "fixed"
      ? field.color.fixedColor
      : mode === "thresholds"
        ? (reached(field, value)?.color ?? theme.text)
        : SERIES[place % SERIES.length];
  return legible(colour, theme, contrast);
}

/** The colour of a value by its mapping, or else by `colourOf`. */
export function stateColour(field, mapping, place, value, theme) {
  return mapping?.color ? legible(mapping.color, theme) : colourOf(field, place, value, theme);
}

/** The threshold steps of a field; the lowest has the value null. */
export function steps(field) {
  return (field.thresholds?.steps ?? []).map(({ value, color }) => ({ value: value ?? null, color }));
}

function reached(field, value) {
  return steps(field).findLast((step) => step.value === null || (value !== null && value >= step.value));
}

/** A colour of the heatmap's scheme for a share of 0 to 1. Like Grafana, it inverts the scheme in the light theme. */
export function shade(share, reverse, theme) {
  const isLight = luminance(parse(theme.ground)) > 0.3;
  const place = Math.min(1, Math.max(0, isLight === Boolean(reverse) ? share : 1 - share)) * (COOL.length - 1);
  const low = Math.min(Math.floor(place), COOL.length - 2);
  const [from, to] = [parse(COOL[low]), parse(COOL[low + 1])];
  return write(from.map((part, index) => part + (to[index] - part) * (place - low)));
}

/** A colour with an opacity of 0 to 1. */
export function faded(colour, opacity) {
  const parts = parse(colour);
  return parts ? `rgba(${parts.map(Math.round).join(", ")}, ${opacity})` : colour;
}

/** The colour, or a lighter or darker variant that has the contrast with the background. */
export function legible(colour, theme, least = 3) {
  let parts = parse(colour);
  const ground = parse(theme.ground);
  if (!parts || !ground) return colour;
  const target = luminance(ground) > 0.3 ? 0 : 255;
  for (let tries = 0; tries < 12 && contrastOf(parts, ground) < least; tries += 1) {
    parts = parts.map((part) => part + (target - part) * 0.12);
  }
  return write(parts);
}

/** Black or white, whichever is better readable on a colour. */
export function inkOn(colour) {
  const parts = parse(colour);
  return parts && luminance(parts) > 0.18 ? "#111217" : "#ffffff";
}

function parse(colour) {
  const hex = /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.exec(colour)?.[1];
  if (hex) {
    const full = hex.length === 3 ? [...hex].map((digit) => digit + digit).join("") : hex;
    return [0, 2, 4].map((at) => parseInt(full.slice(at, at + 2), 16));
  }
  const rgb = /^rgba?\(\s*([\d.]+)[,\s]+([\d.]+)[,\s]+([\d.]+)/.exec(colour);
  return rgb ? rgb.slice(1, 4).map(Number) : null;
}

function write(parts) {
  return "#" + parts.map((part) => Math.round(part).toString(16).padStart(2, "0")).join("");
}

// https://www.w3.org/TR/WCAG21/#dfn-relative-luminance
function luminance(parts) {
  const [r, g, b] = parts.map((part) =>
    part / 255 <= 0.03928 ? part / 3294.6 : ((part / 255 + 0.055) / 1.055) ** 2.4,
  );
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrastOf(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
