// A row for each set of labels, a column for each label and each query.

import { colourOf, themeOf } from "glasshouse/colours.js";
import { element } from "glasshouse/dom.js";
import { fieldOf, textOf } from "glasshouse/fields.js";

const sorting = new WeakMap();

/** Draws the panel. */
export function draw(body, view) {
  const theme = themeOf(body);
  const { panel } = view;
  const columns = arranged(panel, view.answer).map((column) => ({ ...column, field: fieldOf(panel, column.name) }));
  const shown = columns.filter((column) => column.field.custom.hidden !== true);
  const order = sorting.get(body) ?? first(panel);
  const rows = sorted(merged(view.answer), columns, order);
  body.replaceChildren(
    element(
      "div",
      { class: "gh-table", tabindex: "0", role: "region", "aria-label": panel.title },
      element(
        "table",
        {},
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            ...shown.map((column) =>
              element(
                "th",
                {
                  scope: "col",
                  "aria-sort": column.name !== order?.name ? "none" : order.isDown ? "descending" : "ascending",
                  class: column.isFigure ? "gh-figure" : "",
                },
                element(
                  "button",
                  {
                    type: "button",
                    onclick: () => {
                      sorting.set(body, {
                        name: column.name,
                        isDown: order?.name === column.name ? !order.isDown : column.isFigure,
                      });
                      draw(body, view);
                    },
                  },
                  column.name,
                ),
              ),
            ),
          ),
        ),
        element(
          "tbody",
          {},
          ...rows.map((row) => element("tr", {}, ...shown.map((column) => cell(column, row[column.key], theme)))),
        ),
      ),
    ),
  );
}

function cell(column, value, theme) {
  if (!column.isFigure) return element("td", {}, value ?? "");
  const isColoured = (column.field.custom.cellOptions?.type ?? column.field.custom.displayMode ?? "auto").startsWith(
    "color",
  );
  const colour = isColoured ? colourOf(column.field, 0, value ?? null, theme) : "";
  return element("td", { class: "gh-figure", style: { color: colour } }, textOf(column.field, value ?? null));
}

// Series with the same labels are one row, as Grafana's transformation "merge" makes it: a metric's own name is one of
// them, so that bare metrics of different names never meet in a row.
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

// the columns in the order and with the names of Grafana's transformation "organize"
function arranged(panel, answer) {
  const labels = new Set(answer.results.flatMap((result) => result.lines.flatMap((line) => Object.keys(line.labels))));
  const keys = [
    ...[...labels].map((key) => ({ key })),
    ...answer.results.map(({ refId }) => ({ key: figureKey(answer, refId), isFigure: true })),
  ];
  const {
    excludeByName = {},
    indexByName = {},
    renameByName = {},
  } = panel.transformations?.find((one) => one.id === "organize")?.options ?? {};
  return keys
    .filter(({ key }) => !excludeByName[key])
    .sort((a, b) => (indexByName[a.key] ?? 99) - (indexByName[b.key] ?? 99))
    .map((column) => ({ ...column, name: renameByName[column.key] || column.key }));
}

function first(panel) {
  const written = panel.options?.sortBy?.[0];
  return written ? { name: written.displayName, isDown: Boolean(written.desc) } : null;
}

function sorted(rows, columns, order) {
  const column = columns.find((one) => one.name === order?.name);
  if (!column) return rows;
  const value = (row) => row[column.key] ?? (column.isFigure ? -Infinity : "");
  const compare = (a, b) =>
    column.isFigure ? value(a) - value(b) || 0 : String(value(a)).localeCompare(String(value(b)));
  return rows.sort((a, b) => (order.isDown ? compare(b, a) : compare(a, b)));
}
