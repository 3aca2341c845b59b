// Formats values in those of Grafana's units that the dashboards use.

const SHORT = [
  [1e12, " T"],
  [1e9, " B"],
  [1e6, " M"],
  [1e3, " K"],
];
const BINARY = [
  [2 ** 40, " TiB"],
  [2 ** 30, " GiB"],
  [2 ** 20, " MiB"],
  [2 ** 10, " KiB"],
];
const SECONDS = [
  [86400, " d"],
  [3600, " h"],
  [60, " min"],
  [1, " s"],
  [1e-3, " ms"],
  [1e-6, " µs"],
  [1e-9, " ns"],
];

// unit → scale, and the suffix of unscaled values
const UNITS = {
  none: { scale: [], after: "" },
  short: { scale: SHORT, after: "" },
  percentunit: { scale: [[0.01, "%"]], after: "%" },
  s: { scale: SECONDS, after: " s" },
  reqps: { scale: SHORT, after: " req/s" },
  ops: { scale: SHORT, after: " ops/s" },
  bytes: { scale: BINARY, after: " B" },
};

/** A value with its unit. An unknown unit is appended to the value. */
export function format(value, unit = "none", decimals = undefined) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const { scale, after } = UNITS[unit] ?? { scale: [], after: ` ${unit}` };
  if (value === 0) return `0${after}`;
  const step = scale.find(([size]) => Math.abs(value) >= size * 0.9999) ?? smallest(scale);
  if (!step) return digits(value, decimals) + after;
  const tail = scale === SHORT && after ? step[1] + after.trimStart() : step[1];
  return digits(value / step[0], decimals) + tail;
}

// a value below the smallest step, such as 0.004 %, uses that step
function smallest(scale) {
  const step = scale.at(-1);
  return step && step[0] < 1 ? step : null;
}

function digits(value, decimals) {
  const size = Math.abs(value);
  const places =
    decimals ?? (size === 0 || size >= 100 ? (size % 1 && size < 1000 ? 1 : 0) : size >= 10 ? 1 : size >= 0.1 ? 2 : 3);
  const text = value.toFixed(Math.min(places, 10));
  return decimals === undefined && text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
