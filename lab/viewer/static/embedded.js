// Draws dashboards whose data is in the page itself, as in a report that is opened without a server.

import { element } from "glasshouse/dom.js";
import { gridOf } from "glasshouse/grid.js";
import { showTraces } from "glasshouse/traces.js";

const dark = matchMedia("(prefers-color-scheme: dark)");

for (const data of document.querySelectorAll("script.gh-snapshot")) {
  const host = data.parentElement;
  const theme = () => host.dataset.theme || (dark.matches ? "dark" : "light");
  const drawings = JSON.parse(data.textContent).dashboards.map((shown) => ({ ...shown, ...gridOf(shown.dashboard) }));
  const draw = () => {
    for (const { frames, answers, marks } of drawings) {
      for (const [id, { show }] of frames) {
        show({
          answer: answers[String(id)],
          marks,
          theme: theme(),
          group: "glasshouse",
          showTraces: (dot, dots) => showTraces(host, dot ? [dot] : dots, () => null),
        });
      }
    }
  };
  for (const { dashboard, root } of drawings) host.append(element("h2", { class: "gh-title" }, dashboard.title), root);
  draw();
  dark.addEventListener("change", draw);
}
