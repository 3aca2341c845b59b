// The page: a dashboard at /d/<uid>, or the list of all dashboards.

import { Address } from "glasshouse/address.js";
import { navigation, refreshPicker, timePicker, variableChooser } from "glasshouse/controls.js";
import { button, element } from "glasshouse/dom.js";
import { gridOf } from "glasshouse/grid.js";
import { landing } from "glasshouse/landing.js";
import { Live } from "glasshouse/live.js";
import * as server from "glasshouse/server.js";
import { shownTheme, themeButton } from "glasshouse/theme.js";
import { showTraces } from "glasshouse/traces.js";
import { showTracing } from "glasshouse/tracing/pages.js";

const HIDDEN = 2;
const banner = element("p", { class: "gh-banner", role: "alert", hidden: true });

async function start() {
  const uid = /^\/d\/([^/]+)/.exec(location.pathname)?.[1];
  try {
    const all = await server.dashboards();
    if (showTracing(all)) return;
    if (uid) await showDashboard(decodeURIComponent(uid), all);
    else landing(document.body, all);
  } catch (error) {
    showProblem(error.message);
    document.body.append(
      banner,
      element("p", { class: "gh-banner-link" }, element("a", { href: "/" }, "All dashboards")),
    );
  }
}

async function showDashboard(uid, all) {
  const dashboard = await server.dashboard(uid);
  document.title = `${dashboard.title} - Glasshouse`;
  const address = new Address({
    from: dashboard.time?.from ?? "now-15m",
    to: dashboard.time?.to ?? "now",
    refresh: dashboard.refresh || "",
  });
  const { root, frames } = gridOf(dashboard);
  let parts = {};
  const view = () => ({
    group: "glasshouse",
    theme: shownTheme(),
    zoom: (from, to) => address.set({ from: String(from), to: String(to) }),
    showTraces: (dot, dots) =>
      showTraces(document.body, dot ? [dot] : dots, (id) =>
        parts.hasTraces ? `/trace/${encodeURIComponent(id)}` : null,
      ),
  });
  const live = new Live(uid, frames, address, view, (report) => {
    const problem = report instanceof Error ? report.message : report.problem && `Prometheus: ${report.problem}`;
    if (!(report instanceof Error)) parts = report;
    showProblem(problem);
  });
  const variables = (dashboard.templating?.list ?? [])
    .filter((variable) => variable.hide !== HIDDEN)
    .map((variable) => variableChooser(variable, address));
  const offer = async () => {
    const offered = await server.variables(uid, address.search()).catch(() => ({}));
    for (const { name, offer: give } of variables) give(offered[name] ?? []);
  };
  address.onChange(offer);
  document.body.append(
    navigation(all, uid, address),
    element(
      "header",
      { class: "gh-head" },
      element("h1", { title: dashboard.description }, dashboard.title),
      ...variables.map((variable) => variable.root),
      element("span", { class: "gh-space" }),
      timePicker(address),
      refreshPicker(address, () => live.refresh()),
      themeButton(() => live.redraw()),
      button("⤢", {
        "aria-label": "Full screen",
        title: "Full screen",
        onclick: () => document.documentElement.requestFullscreen(),
      }),
    ),
    banner,
    element("main", {}, root),
  );
  await Promise.all([live.refresh(), offer()]);
}

function showProblem(problem) {
  banner.hidden = !problem;
  banner.textContent = problem ?? "";
}

document.body.dataset.theme = shownTheme();
// Grafana's parameter: only the panels, for a wall screen
if (new URLSearchParams(location.search).has("kiosk")) document.body.dataset.kiosk = "";
start();
