// Times in addresses, and as text.

export const RANGES = [
  ["now-5m", "Last 5 minutes"],
  ["now-15m", "Last 15 minutes"],
  ["now-30m", "Last 30 minutes"],
  ["now-1h", "Last hour"],
  ["now-3h", "Last 3 hours"],
  ["now-6h", "Last 6 hours"],
  ["now-12h", "Last 12 hours"],
  ["now-24h", "Last 24 hours"],
];

/** The name of a time range. */
export function describe(from, to) {
  const known = to === "now" && RANGES.find(([start]) => start === from);
  if (known) return known[1];
  return `${spoken(from)} – ${spoken(to)}`;
}

/** Date and time to the second, in the local time zone. */
export function moment(seconds) {
  return new Date(seconds * 1000).toLocaleString(undefined, {
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  });
}

/** An interval such as `5s`, `1m` or `1h` in milliseconds; 0 for none. */
export function milliseconds(interval) {
  const written = /^(\d+)([smh])$/.exec(interval ?? "");
  return written ? Number(written[1]) * { s: 1e3, m: 60e3, h: 3600e3 }[written[2]] : 0;
}

/** A time of the address as the value of `<input type="datetime-local">`. */
export function forInput(text, now = Date.now()) {
  const at = new Date(absolute(text, now));
  return new Date(at.getTime() - at.getTimezoneOffset() * 60e3).toISOString().slice(0, 19);
}

function absolute(text, now) {
  if (/^\d+$/.test(text)) return Number(text);
  const written = /^now(?:-(\d+)([smhdw]))?$/.exec(text);
  const unit = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3, w: 604800e3 };
  return written?.[1] ? now - Number(written[1]) * unit[written[2]] : now;
}

function spoken(text) {
  return /^\d+$/.test(text) ? moment(Number(text) / 1000) : text;
}
