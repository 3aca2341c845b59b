// The field configuration of a series: the panel's defaults, and the overrides that match it.

import { format } from "glasshouse/units.js";

/** The field configuration of a series. `custom` has the options of only some panel types, such as lineWidth. */
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

/** The mapping of a value, `{text, color}`, or undefined. */
export function mappingOf(field, value) {
  const result = ({ type, options }) => {
    if (type === "value") return options[String(value)];
    // the server sends NaN as null
    return type === "special" && value === null && options.match === "null+nan" ? options.result : undefined;
  };
  return field.mappings?.map(result).find(Boolean);
}

/** The newest value that is not null, or null. */
export function newest(values) {
  return values.findLast((value) => value !== null && value !== undefined) ?? null;
}

/** The value of a series that a panel of one value shows: the last one, or by default the newest that is not null. */
export function reduced(panel, values) {
  return panel.options?.reduceOptions?.calcs?.[0] === "last" ? (values.at(-1) ?? null) : newest(values);
}

/** All series of an answer, each with its field configuration and display name. */
export function seriesOf(panel, answer) {
  return answer.results.flatMap((result) =>
    result.lines.map((line) => {
      const field = fieldOf(panel, line.name, result.refId);
      return { ...line, field, name: displayNameOf(field, line.labels) || line.name || result.refId };
    }),
  );
}

// a display name, in which `${__field.labels.NAME}` is a label of the series
function displayNameOf({ displayName }, labels) {
  return displayName?.replaceAll(/\$\{__field\.labels\.(\w+)\}/g, (_, label) => labels[label] ?? "");
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
