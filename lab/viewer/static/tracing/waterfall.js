// One trace: its spans as a waterfall, with the attributes and events of each, and its log records.

import { element, pairs } from "glasshouse/dom.js";
import { askTracing } from "glasshouse/server.js";
import { themeButton } from "glasshouse/theme.js";
import { moment } from "glasshouse/times.js";
import { linesOf } from "glasshouse/tracing/lines.js";
import { format } from "glasshouse/units.js";

const TICKS = 4;

/** Shows a trace in `main`. */
export async function showWaterfall(main, id) {
  document.title = `Trace ${id} - Glasshouse`;
  const head = element(
    "header",
    { class: "gh-head" },
    element("h1", {}, "Trace"),
    element("code", {}, id),
    element("span", { class: "gh-space" }),
    element("a", { href: "/traces" }, "All traces"),
    themeButton(),
  );
  main.append(head);
  try {
    const trace = await askTracing(`traces/${encodeURIComponent(id)}`);
    main.append(...parts(trace));
    head.firstChild.textContent = trace.spans[0].name;
    document.title = `${trace.spans[0].name} - Glasshouse`;
  } catch (error) {
    main.append(element("p", { class: "gh-banner", role: "alert" }, error.message));
  }
  main.dataset.drawn = "1";
}

function parts({ traceId, spans, logs, logsProblem }) {
  const start = Math.min(...spans.map((span) => span.start));
  const end = Math.max(...spans.map((span) => span.start + span.duration));
  const length = Math.max(end - start, 1e-9);
  const failed = spans.filter((span) => span.isError).length;
  const services = new Set(spans.map((span) => span.service));
  return [
    element(
      "p",
      { class: "gh-facts" },
      fact("Began", moment(start)),
      fact("Duration", format(length, "s")),
      fact("Spans", String(spans.length)),
      fact("Failed", String(failed)),
      fact("Services", [...services].join(", ")),
    ),
    element(
      "section",
      { class: "gh-waterfall", "aria-label": "Spans" },
      element(
        "div",
        { class: "gh-ticks", "aria-hidden": "true" },
        element("span", {}),
        element(
          "div",
          {},
          ...Array.from({ length: TICKS + 1 }, (_, tick) =>
            element("span", {}, tick === 0 ? "0" : format((length * tick) / TICKS, "s", 2)),
          ),
        ),
      ),
      ...spans.map((span) => rowOf(span, start, length)),
    ),
    element(
      "section",
      { class: "gh-lines-of-trace", "aria-label": "Log lines" },
      element("h2", {}, "Log lines"),
      logsProblem
        ? element("p", { class: "gh-faint" }, logsProblem)
        : logs.length
          ? linesOf(logs, { start, hidden: new Set(["trace_id", "service_name"]) })
          : element("p", { class: "gh-faint" }, "None: a line is written for requests that fail or are slow."),
    ),
    element("p", { class: "gh-faint" }, "Trace ", element("code", {}, traceId)),
  ];
}

function fact(name, value) {
  return element("span", {}, `${name} `, element("b", {}, value));
}

function rowOf(span, start, length) {
  const from = ((span.start - start) / length) * 100;
  const width = (span.duration / length) * 100;
  const duration = format(span.duration, "s");
  const kind = span.attributes["db.system.name"] ?? span.kind;
  const labelled = labelPlace(from, width);
  return element(
    "details",
    { class: `gh-span gh-span-${span.isError ? "error" : kind.replace(/\W/g, "")}` },
    element(
      "summary",
      { title: `${span.name}, ${duration}` },
      element(
        "span",
        { class: "gh-span-name", style: { paddingLeft: `${span.depth * 14}px` } },
        span.isError ? element("b", { class: "gh-error", role: "img", "aria-label": "failed" }, "! ") : null,
        span.name,
        element("span", { class: "gh-faint" }, ` ${kind}`),
      ),
      element(
        "span",
        { class: "gh-span-track" },
        element("i", { style: { left: `${from}%`, width: `max(2px, ${width}%)` } }),
        ...span.events.map((event) =>
          element("em", { title: event.name, style: { left: `${((event.time - start) / length) * 100}%` } }),
        ),
        element("span", { class: `gh-span-length ${labelled.where}`, style: labelled.style }, duration),
      ),
    ),
    element(
      "div",
      { class: "gh-span-about" },
      span.message ? element("p", { class: "gh-error" }, span.message) : null,
      tableOf("Attributes", span.attributes),
      ...span.events.map((event) =>
        tableOf(`Event ${event.name}, ${format(event.time - span.start, "s")} after its start`, event.attributes),
      ),
      tableOf("Resource", { ...span.resource, "span id": span.spanId, scope: span.scope }),
    ),
  );
}

// after the bar if there is room, else before it, else inside it
function labelPlace(from, width) {
  if (from + width <= 88) return { where: "", style: { left: `${from + width}%` } };
  if (from >= 12) return { where: "", style: { right: `${100 - from}%` } };
  return { where: "gh-in-bar", style: { left: `${from}%` } };
}

function tableOf(title, values) {
  const entries = Object.entries(values);
  return entries.length ? pairs(entries, title) : null;
}
