// The pages of traces: the search at /traces, and one trace at /trace/<id>.

import { Address } from "glasshouse/address.js";
import { navigation } from "glasshouse/controls.js";
import { element } from "glasshouse/dom.js";
import { showSearch } from "glasshouse/tracing/search.js";
import { showWaterfall } from "glasshouse/tracing/waterfall.js";

// the dashboard that shows a trace in Grafana; links to it lead to these pages
const DASHBOARD = "trace";

/** Shows the page of traces for the current address; returns false if it is another page. */
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
  const main = element("main", { class: "gh-tracing" });
  document.body.append(navigation(all, DASHBOARD, address), main);
  if (id) showWaterfall(main, decodeURIComponent(id));
  else showSearch(main, address);
  return true;
}
