// Log lines, each with its labels behind it and a link to its trace.

import { element } from "glasshouse/dom.js";
import { moment } from "glasshouse/times.js";
import { format } from "glasshouse/units.js";

/**
 * A list of lines `{time, line, labels}`. With `start` their times count from there; `hidden` names labels that are not
 * shown; `traceAddress(id)` is where a trace can be seen, or null.
 */
export function linesOf(lines, { start = null, hidden = new Set(), traceAddress = () => null } = {}) {
  return element(
    "div",
    { class: "gh-lines" },
    ...lines.map(({ time, line, labels }) => {
      const level = labels.detected_level ?? "unknown";
      const address = labels.trace_id && traceAddress(labels.trace_id);
      return element(
        "details",
        { class: `gh-line gh-line-${level.replace(/\W/g, "")}` },
        element(
          "summary",
          {},
          element("span", { class: "gh-faint" }, start === null ? moment(time) : `+${format(Math.max(0, time - start), "s")}`),
          element("b", {}, level),
          element("code", {}, line),
          address ? element("a", { href: address }, "trace") : null,
        ),
        element(
          "table",
          {},
          element(
            "tbody",
            {},
            ...Object.entries(labels)
              .filter(([name]) => !hidden.has(name))
              .sort()
              .map(([name, value]) =>
                element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value)),
              ),
          ),
        ),
      );
    }),
  );
}
