// Log records, newest first.

import { element } from "glasshouse/dom.js";
import { linesOf } from "glasshouse/tracing/lines.js";

/** Draws the panel. An empty result is not a problem: nothing was logged. */
export function draw(body, view) {
  const lines = view.answer.results.flatMap((result) => result.logs).sort((a, b) => b.time - a.time);
  body.replaceChildren(
    lines.length
      ? element(
          "div",
          { class: "gh-logs", tabindex: "0", role: "region", "aria-label": view.panel.title },
          linesOf(lines, { traceAddress: (id) => `/trace/${encodeURIComponent(id)}` }),
        )
      : element("p", { class: "gh-faint gh-no-lines" }, "No lines in this time range."),
  );
}
