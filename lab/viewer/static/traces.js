// A dialog with the traces of a panel's exemplars.

import { button, element } from "glasshouse/dom.js";
import { moment } from "glasshouse/times.js";
import { format } from "glasshouse/units.js";

/** Shows exemplars with their trace ids, slowest first; `addressOf(id)` is the page of a trace, or null. */
export function showTraces(ground, dots, addressOf) {
  const slowest = dots.toSorted((a, b) => (b.value ?? 0) - (a.value ?? 0)).slice(0, 20);
  const dialog = element(
    "dialog",
    { class: "gh-dialog", "aria-label": "Traces", onclose: () => dialog.remove() },
    element("h3", {}, dots.length === 1 ? "Trace" : "Traces, slowest first"),
    element("ul", {}, ...slowest.map((dot) => entry(dot, addressOf))),
    element("form", { method: "dialog" }, button("Close", { type: "submit" })),
  );
  ground.append(dialog);
  dialog.showModal();
}

function entry(dot, addressOf) {
  const address = addressOf(dot.traceId);
  const id = element("code", {}, dot.traceId);
  const copy = button("copy", {
    class: "gh-small",
    onclick: async () => {
      await navigator.clipboard.writeText(dot.traceId);
      copy.textContent = "copied";
    },
  });
  const labels = Object.entries(dot.labels)
    .filter(([name]) => name.startsWith("http_"))
    .map(([, value]) => value);
  return element(
    "li",
    {},
    element("b", {}, format(dot.value, "s")),
    " ",
    address ? element("a", { href: address, target: "_blank", rel: "noreferrer" }, id) : id,
    " ",
    copy,
    element("div", { class: "gh-faint" }, `${moment(dot.time)} ${labels.join(" ")}`),
  );
}
