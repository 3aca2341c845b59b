// The controls above a dashboard: navigation, variables, time range, refresh.

import { button, element } from "glasshouse/dom.js";
import { placeBelow } from "glasshouse/frame.js";
import { RANGES, describe, forInput } from "glasshouse/times.js";

const INTERVALS = ["5s", "10s", "30s", "1m", "5m"];
let choosers = 0;

/** Links to all dashboards; the current one is marked. They are updated when the address changes. */
export function navigation(all, current, address) {
  const nav = element("nav", { class: "gh-nav", "aria-label": "Dashboards" });
  const fill = () =>
    nav.replaceChildren(
      element("a", { href: "/", class: "gh-home" }, "Glasshouse"),
      ...all.map(({ uid, title }) =>
        element("a", { href: address.of(uid), "aria-current": uid === current ? "page" : false }, title),
      ),
    );
  address.onChange(fill);
  fill();
  return nav;
}

/** A chooser for a variable of the JSON. `offer(values)` sets the values to choose from. */
export function variableChooser(variable, address) {
  const label = variable.label || variable.name;
  const list = element("div", { class: "gh-choices" });
  const { root, summary } = dropdown(label, list);
  let offered = [];
  const fill = () => {
    const chosen = address.chosen(variable.name);
    summary.textContent = `${label}: ${chosen.length ? chosen.join(", ") : "All"}`;
    const choose = (values) => address.set({ [`var-${variable.name}`]: values });
    const box = (text, isOn, pick) =>
      element(
        "label",
        {},
        element("input", {
          type: "checkbox",
          checked: isOn,
          onchange: pick,
        }),
        text,
      );
    // a choice replaces the list, so the focus is restored
    const focused = [...list.querySelectorAll("input")].indexOf(document.activeElement);
    list.replaceChildren(
      box("All", chosen.length === 0, () => choose([])),
      ...[...new Set([...offered, ...chosen])].map((value) =>
        box(value, chosen.includes(value), (event) =>
          choose(event.target.checked ? [...chosen, value] : chosen.filter((other) => other !== value)),
        ),
      ),
    );
    list.querySelectorAll("input")[focused]?.focus();
  };
  address.onChange(fill);
  fill();
  return {
    root,
    name: variable.name,
    offer: (values) => {
      if (String(values) !== String(offered)) {
        offered = values;
        fill();
      }
    },
  };
}

/** The time range: the last minutes or hours, or two times. */
export function timePicker(address) {
  const panel = element("div", { class: "gh-choices" });
  const { root, summary } = dropdown("Time range", panel);
  const fill = () => {
    summary.textContent = describe(address.from, address.to);
    const from = element("input", { type: "datetime-local", step: "1", value: forInput(address.from) });
    const to = element("input", { type: "datetime-local", step: "1", value: forInput(address.to) });
    panel.replaceChildren(
      ...RANGES.map(([start, words]) =>
        element(
          "button",
          {
            type: "button",
            "aria-pressed": String(address.from === start && address.to === "now"),
            onclick: () => address.set({ from: start, to: "now" }),
          },
          words,
        ),
      ),
      element(
        "form",
        {
          onsubmit: (event) => {
            event.preventDefault();
            const [begin, end] = [new Date(from.value).getTime(), new Date(to.value).getTime()];
            to.setCustomValidity(begin < end ? "" : "must be after the beginning");
            if (begin < end) address.set({ from: String(begin), to: String(end) });
            else to.reportValidity();
          },
        },
        element("label", {}, "From", from),
        element("label", {}, "To", to),
        button("Apply", { type: "submit" }),
      ),
    );
  };
  address.onChange(fill);
  fill();
  return root;
}

/** The refresh interval, and a button that pauses it. `now` refreshes immediately. */
export function refreshPicker(address, now) {
  const select = element(
    "select",
    { "aria-label": "Refresh", onchange: () => address.set({ refresh: select.value }) },
    element("option", { value: "" }, "Paused"),
    ...INTERVALS.map((interval) => element("option", { value: interval }, `Every ${interval}`)),
  );
  const pause = button("", {
    onclick: () => {
      if (address.refresh) select.dataset.before = address.refresh;
      address.set({ refresh: address.refresh ? "" : (select.dataset.before ?? "5s") });
    },
  });
  const fill = () => {
    select.value = address.refresh;
    pause.textContent = address.refresh ? "Pause" : "Resume";
  };
  address.onChange(fill);
  fill();
  return element(
    "span",
    { class: "gh-refresh" },
    button("Refresh", { onclick: now }),
    select,
    pause,
  );
}

function dropdown(label, content) {
  choosers += 1;
  const list = element(
    "div",
    { popover: true, id: `gh-chooser-${choosers}`, class: "gh-popover", role: "group", "aria-label": label },
    content,
  );
  const summary = button(label, { class: "gh-button gh-dropdown", popovertarget: list.id });
  list.addEventListener("beforetoggle", () => placeBelow(list, summary));
  return { root: element("span", { class: "gh-chooser" }, summary, list), summary };
}
