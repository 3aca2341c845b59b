// Words that stay beside the figures: headings, lists, emphasis, code and links of Markdown, and no markup of others.

import { element } from "glasshouse/dom.js";

const INLINE =
  /\*\*(?<strong>[^*]+)\*\*|\*(?<em>[^*\s][^*]*)\*|`(?<code>[^`]+)`|\[(?<words>[^\]]+)\]\((?<to>[^)\s]+)\)/g;

/** Draws the panel. */
export function draw(body, view) {
  body.replaceChildren(element("div", { class: "gh-text" }, ...blocks(view.panel.options?.content ?? "", view.linkTo)));
}

function blocks(markdown, linkTo) {
  return markdown
    .trim()
    .split(/\n\s*\n/)
    .flatMap((block) => {
      const lines = block.split("\n");
      const heading = /^(#{1,4})\s+(.*)$/.exec(lines[0]);
      if (heading) {
        const rest = lines.slice(1).join("\n");
        return [
          element(`h${heading[1].length + 2}`, {}, ...inline(heading[2], linkTo)),
          ...(rest ? blocks(rest, linkTo) : []),
        ];
      }
      if (lines.every((line) => /^\s*[-*]\s/.test(line))) return [list("ul", lines, linkTo)];
      if (lines.every((line) => /^\s*\d+\.\s/.test(line))) return [list("ol", lines, linkTo)];
      return [element("p", {}, ...inline(lines.join(" "), linkTo))];
    });
}

function list(kind, lines, linkTo) {
  return element(
    kind,
    {},
    ...lines.map((line) => element("li", {}, ...inline(line.replace(/^\s*(?:[-*]|\d+\.)\s+/, ""), linkTo))),
  );
}

function inline(text, linkTo) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    parts.push(text.slice(from, found.index));
    const { strong, em, code, words, to } = found.groups;
    if (strong) parts.push(element("strong", {}, ...inline(strong, linkTo)));
    else if (em) parts.push(element("em", {}, em));
    else if (code) parts.push(element("code", {}, code));
    else parts.push(link(words, to, linkTo));
    from = found.index + found[0].length;
  }
  return [...parts, text.slice(from)];
}

function link(words, to, linkTo) {
  const dashboard = /^\/d\/([\w-]+)/.exec(to)?.[1];
  const address = dashboard ? linkTo(dashboard) : /^https?:\/\//.test(to) ? to : null;
  return address ? element("a", { href: address, rel: "noreferrer" }, words) : element("span", {}, words);
}
