// Colours: Grafana's names, thresholds, schemes, and enough contrast with the ground in both themes.

const NAMED = {
  green: "#73bf69",
  red: "#f2495c",
  orange: "#ff9830",
  yellow: "#fade2a",
  blue: "#5794f2",
  purple: "#b877d9",
  "dark-green": "#37872d",
  "dark-red": "#c4162a",
  "dark-orange": "#fa6400",
  "dark-yellow": "#e0b400",
  "dark-blue": "#1f60c4",
  "dark-purple": "#8f3bb8",
  "semi-dark-green": "#56a64b",
  "semi-dark-red": "#e02f44",
  "semi-dark-orange": "#ff780a",
  "semi-dark-yellow": "#f2cc0c",
  "semi-dark-blue": "#3274d9",
  "semi-dark-purple": "#a352cc",
  "light-green": "#96d98d",
  "light-red": "#ff7383",
  "light-orange": "#ffb357",
  "light-yellow": "#ffee52",
  "light-blue": "#8ab8ff",
  "light-purple": "#ca95e5",
  "super-light-blue": "#c0d8ff",
  grey: "#999999",
  gray: "#999999",
  white: "#ffffff",
  black: "#000000",
};

// Okabe and Ito's, which colour-blind readers tell apart (https://jfly.uni-koeln.de/color/)
const SERIES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999"];

// a few stops of each scheme of d3-scale-chromatic, and on which ground Grafana turns it round
const SCHEMES = {
  Cividis: ["#002051", "#11366c", "#3c4d6e", "#62646f", "#7f7c75", "#9a9478", "#bbaf71", "#e2cb5c", "#fdea45"],
  Viridis: ["#440154", "#482777", "#3f4a8a", "#31678e", "#26838f", "#1f9d8a", "#6cce5a", "#b6de2b", "#fee825"],
  Magma: ["#000004", "#1c1044", "#4f127b", "#812581", "#b5367a", "#e55964", "#fb8761", "#fec287", "#fbfdbf"],
  Oranges: ["#fff5eb", "#fee6ce", "#fdd0a2", "#fdae6b", "#fd8d3c", "#f16913", "#d94801", "#a63603", "#7f2704"],
  Cool: ["#6e40aa", "#5c5ace", "#417de0", "#27a3dc", "#1ac7c2", "#21e39b", "#40f373", "#73f65a", "#aff05b"],
  Blues: ["#f7fbff", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b"],
};

/** The theme that is shown around an element: "dark" or "light", with its ground, text and grid colours. */
export function themeOf(node) {
  const style = getComputedStyle(node.closest(".gh") ?? document.body);
  const read = (name) => style.getPropertyValue(name).trim();
  return { ground: read("--gh-panel"), text: read("--gh-text"), faint: read("--gh-faint"), grid: read("--gh-grid") };
}

/** A CSS colour for one of Grafana's names, as it is written in the JSON. */
export function named(colour, theme) {
  if (colour === "text") return theme.text;
  return NAMED[colour] ?? colour;
}

/**
 * The colour of a series or a value: fixed, by threshold, or the series' own in the palette. `contrast` with the ground
 * is at least 3 for what is read (WCAG 1.4.11); lines that are told from each other by hue can do with less.
 */
export function colourOf(field, place, value, theme, contrast = 3) {
  const mode = field.color?.mode ?? "palette-classic";
  if (mode === "fixed") return legible(named(field.color.fixedColor ?? "text", theme), theme, contrast);
  if (mode === "thresholds" || mode.startsWith("continuous")) return thresholdColour(field, value, theme, contrast);
  return legible(SERIES[place % SERIES.length], theme, contrast);
}

/** The colour of the highest threshold that a value reaches. */
export function thresholdColour(field, value, theme, contrast = 3) {
  const reached = steps(field).filter((step) => step.value === null || (value !== null && value >= step.value));
  return legible(named(reached.at(-1)?.color ?? "text", theme), theme, contrast);
}

/** Threshold steps in units of the field, the lowest with value null; percentages are of its range. */
export function steps(field) {
  const found = field.thresholds?.steps ?? [];
  const span = (field.max ?? 100) - (field.min ?? 0);
  return found.map((step) => {
    const value = step.value ?? null;
    if (value === null || field.thresholds.mode !== "percentage") return { value, color: step.color };
    return { value: (field.min ?? 0) + (value / 100) * span, color: step.color };
  });
}

// Grafana turns a scheme round so that its low end is that of the ground: these on light, the others on dark
const TURNED_ON_LIGHT = new Set(["Cividis", "Viridis", "Magma", "Cool"]);

/** A colour of a scheme, for a share of 0 to 1, as Grafana gives it on the theme's ground. */
export function shade(scheme, share, reverse, theme) {
  const name = scheme in SCHEMES ? scheme : "Cividis";
  const stops = SCHEMES[name];
  const isTurned = TURNED_ON_LIGHT.has(name) === isLight(theme);
  const place = Math.min(1, Math.max(0, isTurned === Boolean(reverse) ? share : 1 - share)) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  const [from, to] = [parse(stops[low]), parse(stops[low + 1])];
  return write(from.map((part, index) => part + (to[index] - part) * (place - low)));
}

/** A colour with an opacity of 0 to 1. */
export function faded(colour, opacity) {
  const parts = parse(colour);
  return parts ? `rgba(${parts.map(Math.round).join(", ")}, ${opacity})` : colour;
}

/** The colour, or a lighter or darker one of its hue that has this contrast with the ground. */
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

/** Black or white, whichever reads better on a colour. */
export function inkOn(colour) {
  const parts = parse(colour);
  return parts && luminance(parts) > 0.18 ? "#111217" : "#ffffff";
}

function isLight(theme) {
  const ground = parse(theme.ground);
  return Boolean(ground && luminance(ground) > 0.3);
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
