// The list of dashboards.

import { element } from "glasshouse/dom.js";
import { themeButton } from "glasshouse/theme.js";

/** Shows the list in `body`. */
export function landing(body, all) {
  const cards = all.map(({ uid, title, description, panels }) =>
    element(
      "a",
      { class: "gh-card", href: `/d/${encodeURIComponent(uid)}` },
      element("h2", {}, title),
      element("p", {}, description),
      element("span", { class: "gh-faint" }, `${panels} panels`),
    ),
  );
  const space = element("span", { class: "gh-space" });
  body.append(
    element("header", { class: "gh-head gh-landing-head" }, element("h1", {}, "Glasshouse"), space, themeButton()),
    element("main", { class: "gh-landing" }, ...cards),
  );
}
