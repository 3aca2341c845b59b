"""Hooks of MkDocs: the site has the repository's own paths, and the pages that are outside docs/.

MkDocs reads one folder of pages. Ours are in several folders, beside what they describe (`alerts/runbooks/`,
`examples/`), and link to each other by relative paths, which also work in the repository.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/**/*.md", "alerts/runbooks/*.md", "examples/**/*.md")
PICTURES = ("docs/pictures/*.png", "docs/pictures/*.svg")
# a Markdown link to a path: text, path, anchor
LINK = re.compile(r"(?<!!)\[([^]\n]*)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_files(_files: Files, config: MkDocsConfig) -> Files:
    """The pages and pictures of the site, by their paths in the repository."""
    found = sorted({path for pattern in (*PAGES, *PICTURES) for path in ROOT.glob(pattern)})
    return Files([File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)) for path in found])


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replaces links to source files and folders, which are not in the site, by their text."""
    folder = (ROOT / page.file.src_uri).parent

    def replace(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        is_source = target.exists() and files.get_file_from_path(str(target.relative_to(ROOT))) is None
        return link[1] if is_source else link[0]

    return LINK.sub(replace, markdown)
