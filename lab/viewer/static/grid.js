// The grid of a dashboard: 24 columns, rows of 30 pixels with gaps of 8, and headings that fold the panels below them.

import { element } from "glasshouse/dom.js";
import { frameOf } from "glasshouse/frame.js";

/** The panels of a dashboard's JSON, laid out: `{root, frames}`, frames by panel id. */
export function gridOf(dashboard) {
  const frames = new Map();
  const root = element("div", { class: "gh-dashboard" });
  let section = null;
  for (const panel of dashboard.panels) {
    if (panel.type === "row") {
      section = sectionOf(panel.title, !panel.collapsed);
      root.append(section.root);
      for (const inner of panel.panels ?? []) section.add(inner, frames);
      continue;
    }
    if (!section) {
      section = { ...sectionOf("", true) };
      root.append(section.root);
    }
    section.add(panel, frames);
  }
  return { root, frames };
}

function sectionOf(title, isOpen) {
  const grid = element("div", { class: "gh-grid" });
  const root = title
    ? element("details", { class: "gh-row", open: isOpen }, element("summary", {}, element("h2", {}, title)), grid)
    : element("div", { class: "gh-row" }, grid);
  let top = null;
  const add = (panel, frames) => {
    const { x, y, w, h } = panel.gridPos;
    // positions within a row are relative to its first panel
    top = top === null ? y : Math.min(top, y);
    const frame = frameOf(panel);
    Object.assign(frame.root.style, { gridColumn: `${x + 1} / span ${w}`, gridRow: `${y - top + 1} / span ${h}` });
    frames.set(panel.id, { ...frame, panel });
    grid.append(frame.root);
  };
  return { root, add };
}
