// Creates elements without HTML strings, so that labels and queries can only become text.

/** An element; attributes named on… are listeners, false ones are omitted; children are nodes or text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") styled(made.style, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A button, by default in the style of the page's header. */
export function button(text, attributes = {}) {
  return element("button", { type: "button", class: "gh-button", ...attributes }, text);
}

/** A table of cells (th and td elements). */
export function table(headings, rows, caption) {
  return element(
    "table",
    {},
    caption && element("caption", {}, caption),
    headings.length > 0 && element("thead", {}, element("tr", {}, ...headings)),
    element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells))),
  );
}

/** A table of names and values. */
export function pairs(entries, caption) {
  const rows = entries.map(([name, value]) => [element("th", { scope: "row" }, name), element("td", {}, value)]);
  return table([], rows, caption);
}

/** A name with its colour, as in legends. */
export function swatch(colour) {
  return element("i", { class: "gh-swatch", style: { background: colour } });
}

function styled(style, values) {
  for (const [property, value] of Object.entries(values)) {
    if (property.startsWith("--")) style.setProperty(property, value);
    else style[property] = value;
  }
}

/** An SVG element. */
export function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
