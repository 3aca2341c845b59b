// Light, dark, or as the system says; the choice is kept in this browser.

const KEY = "glasshouse-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

/** The theme that is shown: "dark" or "light". */
export function shownTheme() {
  return localStorage.getItem(KEY) ?? (system.matches ? "dark" : "light");
}

/** Applies the theme to the page, now and when the system's changes; `changed` is called after each change. */
export function followTheme(changed) {
  const apply = () => {
    document.body.dataset.theme = shownTheme();
    changed();
  };
  system.addEventListener("change", apply);
  document.body.dataset.theme = shownTheme();
  return () => {
    localStorage.setItem(KEY, shownTheme() === "dark" ? "light" : "dark");
    apply();
  };
}
