// Figures as people read them, for the units that Grafana names.

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
const DECIMAL = [
  [1e12, " TB"],
  [1e9, " GB"],
  [1e6, " MB"],
  [1e3, " kB"],
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

// unit → how its figures are scaled, and what follows them
const UNITS = {
  none: { scale: [], after: "" },
  short: { scale: SHORT, after: "" },
  percentunit: { scale: [[0.01, "%"]], after: "%", zero: "0%" },
  percent: { scale: [], after: "%" },
  s: { scale: SECONDS, after: " s" },
  ms: { scale: SECONDS, after: " ms", factor: 1e-3 },
  dtdurations: { scale: SECONDS, after: " s" },
  reqps: { scale: SHORT, after: " req/s" },
  rps: { scale: SHORT, after: " reads/s" },
  wps: { scale: SHORT, after: " writes/s" },
  ops: { scale: SHORT, after: " ops/s" },
  cps: { scale: SHORT, after: " /s" },
  iops: { scale: SHORT, after: " io/s" },
  hertz: { scale: SHORT, after: " Hz" },
  bytes: { scale: BINARY, after: " B" },
  decbytes: { scale: DECIMAL, after: " B" },
  Bps: { scale: DECIMAL, after: " B", last: "/s" },
  binBps: { scale: BINARY, after: " B", last: "/s" },
};

/** A figure with its unit. A unit that is not known is written after the figure; `suffix:` and `prefix:` are custom. */
export function format(value, unit = "none", decimals = undefined) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (unit.startsWith("suffix:")) return digits(value, decimals) + unit.slice(7);
  if (unit.startsWith("prefix:")) return unit.slice(7) + digits(value, decimals);
  if (unit.startsWith("dateTime")) return new Date(value).toLocaleString();
  const known = UNITS[unit];
  if (!known) return digits(value, decimals) + (unit && unit !== "none" ? ` ${unit}` : "");
  const scaled = value * (known.factor ?? 1);
  const last = known.last ?? "";
  if (scaled === 0) return (known.zero ?? "0" + known.after) + last;
  const step = known.scale.find(([size]) => Math.abs(scaled) >= size * 0.9999) ?? smallest(known.scale);
  if (!step) return digits(scaled, decimals) + known.after + last;
  const tail = known.scale === SHORT && known.after ? step[1] + known.after.trimStart() : step[1];
  return digits(scaled / step[0], decimals) + tail + last;
}

// where even the smallest step is too large, as 0.004 % is under 1 %, the smallest is the one to use
function smallest(scale) {
  const [size, name] = scale.at(-1) ?? [2];
  return size < 1 ? [size, name] : null;
}

function digits(value, decimals) {
  const size = Math.abs(value);
  const places =
    decimals ?? (size === 0 || size >= 100 ? (size % 1 && size < 1000 ? 1 : 0) : size >= 10 ? 1 : size >= 0.1 ? 2 : 3);
  const text = value.toFixed(Math.min(places, 10));
  return decimals === undefined && text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
