// Light or dark: as the system prefers, or as chosen in this browser.

import { button } from "glasshouse/dom.js";

const KEY = "glasshouse-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

/** The current theme: "dark" or "light". */
export function shownTheme() {
  return localStorage.getItem(KEY) ?? (system.matches ? "dark" : "light");
}

/** A button that switches the theme of the page; `changed` is called after each change, also of the system's. */
export function themeButton(changed = () => {}) {
  const apply = () => {
    document.body.dataset.theme = shownTheme();
    changed();
  };
  const toggle = () => {
    localStorage.setItem(KEY, shownTheme() === "dark" ? "light" : "dark");
    apply();
  };
  system.addEventListener("change", apply);
  return button("◐", { "aria-label": "Light or dark", title: "Light or dark", onclick: toggle });
}
