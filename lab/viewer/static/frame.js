// The frame of a panel: title, description, queries, and problems.

import { button, element } from "glasshouse/dom.js";
import { KINDS } from "glasshouse/panels/kinds.js";
import { forget } from "glasshouse/timechart.js";

let frames = 0;

/** The frame of a panel in the JSON: `{root, show(view), fail(message)}`. */
export function frameOf(panel) {
  frames += 1;
  const about = element("div", { class: "gh-about", popover: true, id: `gh-about-${frames}` });
  const warning = element("span", { class: "gh-warning", hidden: true, role: "img" }, "!");
  const traces = button("traces", { class: "gh-small", hidden: true });
  const body = element("div", { class: "gh-body" });
  const opener = button("i", {
    class: "gh-small",
    popovertarget: about.id,
    "aria-label": `About ${panel.title || "this panel"}`,
  });
  about.addEventListener("beforetoggle", () => placeBelow(about, opener));
  const root = element(
    "section",
    { class: `gh-panel gh-kind-${panel.type}`, "aria-label": panel.title, "data-panel": String(panel.id) },
    element("header", {}, element("h3", { title: panel.title }, panel.title), warning, traces, opener, about),
    body,
  );
  about.append(element("p", {}, panel.description || "No description."));
  return {
    root,
    show: (view) => show({ panel, body, about, warning, traces, root }, view),
    fail: (message) => fail({ body, root }, [{ query: "", problem: message }]),
  };
}

function show(frame, view) {
  const { panel, body, about, warning, traces, root } = frame;
  const { results } = view.answer;
  const problems = results.filter((result) => result.problem);
  about.replaceChildren(
    element("p", {}, panel.description || "No description."),
    ...results.map((result) => element("pre", {}, result.query)),
  );
  const dots = results.flatMap((result) => result.exemplars);
  traces.hidden = dots.length === 0;
  traces.onclick = () => view.showTraces(null, dots);
  // an empty query is no problem if the panel expects it (noValue) and another query has data, as in Grafana
  const faults = problems.filter((result) => !(result.isEmpty && panel.fieldConfig?.defaults?.noValue));
  warning.hidden = faults.length === 0 || problems.length === results.length;
  warning.title = problems.map(({ query, problem }) => `${query}: ${problem}`).join("\n");
  warning.setAttribute("aria-label", warning.title);
  const waitsFor = panel.fieldConfig?.defaults?.noValue;
  if (waitsFor && results.length && results.every((result) => result.isEmpty)) {
    wait(frame, waitsFor);
    return;
  }
  if (problems.length === results.length) {
    fail(frame, results.length ? problems : [{ query: "", problem: "this panel has no queries" }]);
    return;
  }
  const draw = KINDS[panel.type];
  if (!draw) {
    fail(frame, [{ query: "", problem: `panels of the type ${panel.type} are shown only by Grafana` }]);
    return;
  }
  root.classList.remove("gh-failed");
  if (body.firstChild?.matches?.(".gh-problem, .gh-waiting")) body.replaceChildren();
  try {
    draw(body, { ...view, panel });
    root.dataset.drawn = String(Number(root.dataset.drawn ?? 0) + 1);
  } catch (error) {
    console.error(`panel ${panel.title}:`, error);
    fail(frame, [
      { query: results.map((result) => result.query).join("\n"), problem: `could not be drawn: ${error.message}` },
    ]);
  }
}

// a panel without data yet shows the text of its option noValue
function wait({ body, root, warning }, words) {
  root.classList.remove("gh-failed");
  warning.hidden = true;
  forget(body.querySelector(".gh-chart") ?? body);
  body.replaceChildren(element("div", { class: "gh-waiting", role: "status" }, words));
  root.dataset.drawn = String(Number(root.dataset.drawn ?? 0) + 1);
}

function fail({ body, root }, problems) {
  root.classList.add("gh-failed");
  forget(body.querySelector(".gh-chart") ?? body);
  const queries = Map.groupBy(problems, ({ problem }) => problem);
  body.replaceChildren(
    element(
      "div",
      { class: "gh-problem", role: "status" },
      ...[...queries].map(([problem, failed]) =>
        element(
          "div",
          {},
          element("p", {}, problem),
          ...failed.filter(({ query }) => query).map(({ query }) => element("code", {}, query)),
        ),
      ),
    ),
  );
}

/** Positions a popover below the button that opens it, inside the window. */
export function placeBelow(popover, opener) {
  const box = opener.getBoundingClientRect();
  popover.style.top = `${Math.min(box.bottom + 4, innerHeight - 120)}px`;
  popover.style.left = "auto";
  popover.style.right = `${Math.max(8, document.documentElement.clientWidth - box.right)}px`;
}
