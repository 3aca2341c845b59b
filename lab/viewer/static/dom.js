// Elements without markup in strings: what comes from labels and queries only ever becomes text.

/** An element; `attributes` named on… are listeners, false ones are left out; children are nodes or text. */
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

function styled(style, values) {
  for (const [property, value] of Object.entries(values)) {
    if (property.startsWith("--")) style.setProperty(property, value);
    else style[property] = value;
  }
}

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element. */
export function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
