// A search of traces: newest, slowest or failed requests, by route and duration. The address contains the search.

import { timePicker } from "glasshouse/controls.js";
import { button, element, table } from "glasshouse/dom.js";
import { askTracing } from "glasshouse/server.js";
import { themeButton } from "glasshouse/theme.js";
import { moment } from "glasshouse/times.js";
import { format } from "glasshouse/units.js";

/** Shows the search in `main`. */
export function showSearch(main, address) {
  document.title = "Traces - Glasshouse";
  const results = element("div", { class: "gh-table gh-found", role: "region", "aria-label": "Traces", tabindex: "0" });
  const status = element("p", { class: "gh-faint", role: "status" });
  const route = element("select", { "aria-label": "Route", onchange: () => address.set({ "var-route": route.value || null }) });
  const order = element(
    "select",
    { "aria-label": "Order", onchange: () => address.set({ order: order.value === "newest" ? null : order.value }) },
    element("option", { value: "newest" }, "Newest first"),
    element("option", { value: "slowest" }, "Slowest first"),
  );
  const failed = element("input", { type: "checkbox", onchange: () => address.set({ failed: failed.checked ? "1" : null }) });
  const least = element("input", {
    type: "number",
    min: "0",
    step: "any",
    placeholder: "0",
    "aria-label": "Least duration in milliseconds",
    onchange: () => address.set({ least: least.value || null }),
  });
  let offered = [];
  let round = 0;

  const fill = () => {
    const chosen = address.chosen("route")[0] ?? "";
    route.replaceChildren(
      element("option", { value: "" }, "All routes"),
      ...[...new Set([...offered, ...(chosen ? [chosen] : [])])].map((name) => element("option", { value: name }, name)),
    );
    route.value = chosen;
    order.value = address.parameters.get("order") ?? "newest";
    failed.checked = address.parameters.get("failed") === "1";
    least.value = address.parameters.get("least") ?? "";
  };
  const ask = async () => {
    const mine = (round += 1);
    fill();
    const search = new URLSearchParams({ from: address.from, to: address.to, route: address.chosen("route")[0] ?? "" });
    for (const name of ["order", "failed", "least"]) search.set(name, address.parameters.get(name) ?? "");
    try {
      const found = await askTracing(`search?${search}`);
      if (mine !== round) return;
      results.replaceChildren(found.length ? tableOf(found) : element("p", { class: "gh-faint" }, "No request was found."));
      status.textContent = found.length ? `${found.length} requests` : "";
    } catch (error) {
      if (mine !== round) return;
      results.replaceChildren(element("p", { class: "gh-banner", role: "alert" }, error.message));
      status.textContent = "";
    }
    main.dataset.drawn = String(mine);
  };
  main.append(
    element(
      "header",
      { class: "gh-head" },
      element("h1", { title: "Requests whose traces were kept" }, "Traces"),
      order,
      element("label", { class: "gh-option" }, failed, "failed"),
      route,
      element("label", { class: "gh-option" }, "from", least, "ms"),
      element("span", { class: "gh-space" }),
      timePicker(address),
      button("Search", { onclick: ask }),
      themeButton(),
    ),
    results,
    status,
  );
  address.onChange(ask);
  askTracing("routes").then(
    (routes) => {
      offered = routes;
      fill();
    },
    () => {},
  );
  ask();
}

function tableOf(found) {
  const longest = Math.max(...found.map((one) => one.duration), 1e-9);
  const heading = (text, isFigure) => element("th", { scope: "col", class: isFigure ? "gh-figure" : "" }, text);
  const headings = [
    heading("Time"),
    heading("Request"),
    heading("Status"),
    heading("Duration", true),
    element("th", { scope: "col", "aria-hidden": "true" }),
    heading("Replica"),
    heading("Spans", true),
    heading("Error"),
  ];
  return table(headings, found.map((one) => rowOf(one, longest)));
}

function spansOf({ spans, failedSpans }) {
  return failedSpans ? `${spans}, ${failedSpans} failed` : String(spans || "–");
}

function rowOf(one, longest) {
  const isError = Number(one.status) >= 500 || one.error !== "";
  return [
    element("td", {}, moment(one.start)),
    element("td", {}, element("a", { href: `/trace/${one.traceId}` }, one.name)),
    element("td", { class: isError ? "gh-error" : "" }, one.status || "–"),
    element("td", { class: "gh-figure" }, format(one.duration, "s")),
    element(
      "td",
      { class: "gh-length" },
      element("i", { class: isError ? "gh-failed-bar" : "", style: { width: `${(one.duration / longest) * 100}%` } }),
    ),
    element("td", {}, one.replica),
    element("td", { class: "gh-figure" }, spansOf(one)),
    element("td", { class: "gh-error" }, one.error),
  ];
}
