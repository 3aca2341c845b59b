// The two pages of traces: the search at /traces, and one trace at /trace/<id>.

import { Address } from "glasshouse/address.js";
import { navigation } from "glasshouse/controls.js";
import { element } from "glasshouse/dom.js";
import { followTheme } from "glasshouse/theme.js";
import { showSearch } from "glasshouse/tracing/search.js";
import { showWaterfall } from "glasshouse/tracing/waterfall.js";

// the dashboard that Grafana shows a trace on; its links lead here
const DASHBOARD = "trace";

/** Shows the page of traces that the address names; false where it names none. */
export function showTracing(all) {
  const path = location.pathname;
  if (path === `/d/${DASHBOARD}`) {
    const id = new URLSearchParams(location.search).get("var-traceId");
    location.replace(id ? `/trace/${encodeURIComponent(id)}` : "/traces");
    return true;
  }
  const id = /^\/trace\/([^/]+)$/.exec(path)?.[1];
  if (!id && path !== "/traces") return false;
  const address = new Address({ from: "now-1h", to: "now", refresh: "" });
  const toggle = followTheme(() => {});
  const theme = element(
    "button",
    { type: "button", class: "gh-button", "aria-label": "Light or dark", title: "Light or dark", onclick: toggle },
    "◐",
  );
  const main = element("main", { class: "gh-tracing" });
  document.body.append(navigation(all, DASHBOARD, address));
  if (id) showWaterfall(main, decodeURIComponent(id), theme);
  else showSearch(main, address, theme);
  document.body.append(main);
  return true;
}
