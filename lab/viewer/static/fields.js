// How a series is to be shown: the panel's defaults, and the overrides that match it.

import { format } from "glasshouse/units.js";

/** The field configuration of a series. `custom` holds what only some panels know, such as lineWidth. */
export function fieldOf(panel, name, refId = "") {
  const field = structuredClone(panel.fieldConfig?.defaults ?? {});
  field.custom ??= {};
  for (const { matcher, properties } of panel.fieldConfig?.overrides ?? []) {
    if (!matches(matcher, name, refId)) continue;
    for (const { id, value } of properties) place(field, id.split("."), value);
  }
  return field;
}

/** The text of a value: mapped, or formatted in the field's unit. */
export function textOf(field, value) {
  const mapped = mappingOf(field, value)?.text;
  if (mapped !== undefined) return mapped;
  return value === null && field.noValue ? field.noValue : format(value, field.unit, field.decimals);
}

/** What a value is mapped to, `{text, color}`, or null. */
export function mappingOf(field, value) {
  for (const { type, options } of field.mappings ?? []) {
    if (type === "value" && options[String(value)]) return options[String(value)];
    if (
      type === "range" &&
      value !== null &&
      value >= (options.from ?? -Infinity) &&
      value <= (options.to ?? Infinity)
    ) {
      return options.result;
    }
    if (type === "special" && value === null && options.match.startsWith("null")) return options.result;
  }
  return null;
}

/** One figure of a row of values: lastNotNull, last, max, min, mean, sum, first, count, range or diff. */
export function reduce(values, calculation = "lastNotNull") {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (known.length === 0) return null;
  const sum = known.reduce((total, value) => total + value, 0);
  switch (calculation) {
    case "last":
      return values.at(-1) ?? null;
    case "max":
      return Math.max(...known);
    case "min":
      return Math.min(...known);
    case "mean":
      return sum / known.length;
    case "sum":
      return sum;
    case "first":
    case "firstNotNull":
      return known[0];
    case "count":
      return known.length;
    case "range":
      return Math.max(...known) - Math.min(...known);
    case "diff":
      return known.at(-1) - known[0];
    default:
      return known.at(-1);
  }
}

/** All series of an answer, each with its field and the name that is shown. */
export function seriesOf(panel, answer) {
  return answer.results.flatMap((result) =>
    result.lines.map((line) => {
      const field = fieldOf(panel, line.name, result.refId);
      return { ...line, field, refId: result.refId, name: field.displayName || line.name || result.refId };
    }),
  );
}

function matches({ id, options }, name, refId) {
  if (id === "byName") return name === options;
  if (id === "byFrameRefID") return refId === options;
  if (id !== "byRegexp") return false;
  const written = /^\/(.*)\/([a-z]*)$/s.exec(options);
  return (written ? new RegExp(written[1], written[2]) : new RegExp(options)).test(name);
}

function place(target, [first, ...rest], value) {
  if (rest.length === 0) target[first] = value;
  else place((target[first] ??= {}), rest, value);
}
