// The list of dashboards.

import { element } from "glasshouse/dom.js";
import { followTheme } from "glasshouse/theme.js";

/** Shows the list in `body`. */
export function landing(body, all) {
  const toggle = followTheme(() => {});
  body.append(
    element(
      "header",
      { class: "gh-head gh-landing-head" },
      element("h1", {}, "Glasshouse"),
      element("span", { class: "gh-space" }),
      element(
        "button",
        { type: "button", class: "gh-button", "aria-label": "Light or dark", title: "Light or dark", onclick: toggle },
        "◐",
      ),
    ),
    element(
      "main",
      { class: "gh-landing" },
      ...all.map(({ uid, title, description, panels }) =>
        element(
          "a",
          { class: "gh-card", href: `/d/${encodeURIComponent(uid)}` },
          element("h2", {}, title),
          element("p", {}, description),
          element("span", { class: "gh-faint" }, `${panels} panels`),
        ),
      ),
    ),
  );
}
