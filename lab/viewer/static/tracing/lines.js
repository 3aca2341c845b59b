// Log records: each line opens to show its labels, and links to its trace.

import { element, pairs } from "glasshouse/dom.js";
import { moment } from "glasshouse/times.js";
import { format } from "glasshouse/units.js";

/**
 * A list of lines `{time, line, labels}`. With `start`, times are relative to it; labels in `hidden` are not shown;
 * `traceAddress(id)` is the page of a trace, or null.
 */
export function linesOf(lines, { start = null, hidden = new Set(), traceAddress = () => null } = {}) {
  const rows = lines.map(({ time, line, labels }) => {
    const level = labels.detected_level ?? "unknown";
    const address = labels.trace_id && traceAddress(labels.trace_id);
    const shownTime = start === null ? moment(time) : `+${format(Math.max(0, time - start), "s")}`;
    return element(
      "details",
      { class: `gh-line gh-line-${level.replace(/\W/g, "")}` },
      element(
        "summary",
        {},
        element("span", { class: "gh-faint" }, shownTime),
        element("b", {}, level),
        element("code", {}, line),
        address && element("a", { href: address }, "trace"),
      ),
      pairs(
        Object.entries(labels)
          .filter(([name]) => !hidden.has(name))
          .sort(),
      ),
    );
  });
  return element("div", { class: "gh-lines" }, ...rows);
}
