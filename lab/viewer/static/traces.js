// The traces behind the dots of a panel.

import { element } from "glasshouse/dom.js";
import { moment } from "glasshouse/times.js";
import { format } from "glasshouse/units.js";

/** Shows exemplars, slowest first, with their trace ids; `addressOf(id)` is where a trace can be seen, or null. */
export function showTraces(ground, dots, addressOf) {
  const dialog = element(
    "dialog",
    { class: "gh-dialog", "aria-label": "Traces", onclose: () => dialog.remove() },
    element("h3", {}, dots.length === 1 ? "Trace" : "Traces, slowest first"),
    element(
      "ul",
      {},
      ...[...dots]
        .sort((a, b) => (b.value ?? 0) - (a.value ?? 0))
        .slice(0, 20)
        .map((dot) => entry(dot, addressOf)),
    ),
    element("form", { method: "dialog" }, element("button", { class: "gh-button" }, "Close")),
  );
  ground.append(dialog);
  dialog.showModal();
}

function entry(dot, addressOf) {
  const address = addressOf(dot.traceId);
  const copy = element(
    "button",
    {
      type: "button",
      class: "gh-small",
      onclick: async () => {
        await navigator.clipboard.writeText(dot.traceId);
        copy.textContent = "copied";
      },
    },
    "copy",
  );
  const words = Object.entries(dot.labels)
    .filter(([name]) => name.startsWith("http_"))
    .map(([, value]) => value)
    .join(" ");
  return element(
    "li",
    {},
    element("b", {}, format(dot.value, "s")),
    " ",
    address
      ? element("a", { href: address, target: "_blank", rel: "noreferrer" }, element("code", {}, dot.traceId))
      : element("code", {}, dot.traceId),
    " ",
    copy,
    element("div", { class: "gh-faint" }, `${moment(dot.time)} ${words}`),
  );
}
