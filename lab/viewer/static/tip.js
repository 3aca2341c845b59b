// The tooltip of the page, which follows the pointer.

import { element, swatch } from "glasshouse/dom.js";

let tip = null;
let owner = null;

/** Shows a heading and lines `{name, value, colour}` next to a point of the window, for the chart `who`. */
export function showTip(who, x, y, heading, lines) {
  tip ??= element("div", { class: "gh-tip", "aria-hidden": "true" });
  const ground = document.querySelector(".gh");
  if (tip.parentNode !== ground) ground.append(tip);
  owner = who;
  tip.replaceChildren(
    element("div", { class: "gh-tip-head" }, heading),
    ...lines
      .slice(0, 16)
      .map((line) =>
        element(
          "div",
          { class: "gh-tip-line" },
          swatch(line.colour ?? "transparent"),
          element("span", {}, line.name),
          element("b", {}, line.value),
        ),
      ),
    lines.length > 16 ? element("div", { class: "gh-faint" }, `and ${lines.length - 16} more`) : "",
  );
  tip.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = tip;
  tip.style.left = `${x + 18 + width < innerWidth ? x + 18 : Math.max(4, x - width - 18)}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 12, innerHeight - height - 4))}px`;
}

/** Hides the tooltip, if it is that of `who`. */
export function hideTip(who) {
  if (owner !== who || !tip) return;
  tip.hidden = true;
  owner = null;
}
