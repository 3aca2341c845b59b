"""Serves alerts/runbooks as pages, to which the links in alerts lead."""

import re
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt

from lab.settings import ROOT

FOLDER = ROOT / "alerts" / "runbooks"
NAME = re.compile(r"[A-Za-z0-9]+")
STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 1.6rem; }
pre { border: 1px solid var(--line); border-radius: 4px; padding: .6rem .8rem; overflow-x: auto; }
code { font-size: .9em; }
"""


class Runbooks:
    """The pages, rendered from Markdown at each request, so that changes need no restart."""

    def __init__(self, dashboards: str, folder: Path = FOLDER) -> None:
        self._dashboards = dashboards
        self._folder = folder
        # HTML in a runbook is shown as text
        self._markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

    def page(self, name: str) -> str | None:
        """The page of one runbook; None if it does not exist."""
        file = self._folder / f"{name}.md"
        if not NAME.fullmatch(name) or not file.is_file():
            return None
        body = self._markdown.render(file.read_text(encoding="utf-8"))
        # links to other runbooks are kept; other files of the repository are not served
        body = re.sub(r'href="([A-Za-z0-9]+)\.md"', r'href="/runbooks/\1"', body)
        body = re.sub(r'<a href="\.\./[^"]*">(.*?)</a>', r"<code>\1</code>", body)
        body = re.sub(r"<code>(/d/[\w-]+)</code>", rf'<a href="{escape(self._dashboards)}\1"><code>\1</code></a>', body)
        return _page(name, f'<p><a href="/runbooks">All runbooks</a></p>{body}')

    def index(self) -> str:
        """The page that lists them."""
        names = sorted(file.stem for file in self._folder.glob("*.md"))
        items = "".join(f'<li><a href="/runbooks/{name}">{name}</a></li>' for name in names)
        return _page("Runbooks", f'<p><a href="/">Inbox</a></p><h1>Runbooks</h1><ul>{items}</ul>')


def _page(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""
