// A row for each set of labels, a column for each label and each query.

import { button, element, table } from "glasshouse/dom.js";
import { fieldOf, textOf } from "glasshouse/fields.js";

const sorting = new WeakMap();

/** Draws the panel. */
export function draw(body, view) {
  const { panel, answer } = view;
  const columns = columnsOf(panel, answer);
  const first = panel.options?.sortBy?.[0];
  const order = sorting.get(body) ?? (first && { name: first.displayName, isDown: Boolean(first.desc) });
  const headings = columns.map((column) => {
    const isChosen = column.name === order?.name;
    const sort = () => {
      sorting.set(body, { name: column.name, isDown: isChosen ? !order.isDown : column.isFigure });
      draw(body, view);
    };
    return element(
      "th",
      {
        scope: "col",
        "aria-sort": !isChosen ? "none" : order.isDown ? "descending" : "ascending",
        class: column.isFigure ? "gh-figure" : "",
      },
      button(column.name, { class: null, onclick: sort }),
    );
  });
  const rows = sorted(merged(answer), columns, order).map((row) => columns.map((column) => cell(column, row[column.key])));
  body.replaceChildren(
    element(
      "div",
      { class: "gh-table", tabindex: "0", role: "region", "aria-label": panel.title },
      table(headings, rows),
    ),
  );
}

function cell({ isFigure, field }, value) {
  return isFigure ? element("td", { class: "gh-figure" }, textOf(field, value ?? null)) : element("td", {}, value ?? "");
}

// Like Grafana's transformation "merge", series with equal labels become one row. The metric's name is a label too, so
// metrics with different names are never joined.
function merged(answer) {
  const rows = new Map();
  for (const { refId, lines } of answer.results) {
    for (const { labels, values } of lines) {
      const key = JSON.stringify(Object.entries(labels).sort());
      if (!rows.has(key)) rows.set(key, labels);
      rows.set(key, { ...rows.get(key), [figureKey(answer, refId)]: values.at(-1) });
    }
  }
  return [...rows.values()];
}

function figureKey(answer, refId) {
  return answer.results.length > 1 ? `Value #${refId}` : "Value";
}

// the columns with the order and names of Grafana's transformation "organize"
function columnsOf(panel, answer) {
  const labels = new Set(answer.results.flatMap((result) => result.lines.flatMap((line) => Object.keys(line.labels))));
  const keys = [
    ...[...labels].map((key) => ({ key, isFigure: false })),
    ...answer.results.map(({ refId }) => ({ key: figureKey(answer, refId), isFigure: true })),
  ];
  const organize = panel.transformations?.find((one) => one.id === "organize")?.options;
  const { excludeByName = {}, indexByName = {}, renameByName = {} } = organize ?? {};
  return keys
    .filter(({ key }) => !excludeByName[key])
    .sort((a, b) => (indexByName[a.key] ?? 99) - (indexByName[b.key] ?? 99))
    .map((column) => ({ ...column, name: renameByName[column.key] || column.key }))
    .map((column) => ({ ...column, field: fieldOf(panel, column.name) }));
}

function sorted(rows, columns, order) {
  const column = columns.find((one) => one.name === order?.name);
  if (!column) return rows;
  const value = (row) => row[column.key] ?? (column.isFigure ? -Infinity : "");
  const compare = (a, b) =>
    column.isFigure ? value(a) - value(b) || 0 : String(value(a)).localeCompare(String(value(b)));
  return rows.sort((a, b) => (order.isDown ? compare(b, a) : compare(a, b)));
}
