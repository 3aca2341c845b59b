"""The documentation builds as a site without dead links, and its pages load nothing from other servers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

LOADED = re.compile(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="?(?:https?:)?//|<link\b[^>]*\bhref="?(?:https?:)?//')


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_in_the_site(site: Path, root: Path) -> None:
    pages = [*root.glob("docs/**/*.md"), *root.glob("alerts/runbooks/*.md"), *root.glob("examples/*.md")]
    missing = []
    for page in pages:
        place = site / page.relative_to(root).with_suffix(".html")
        if not (place.exists() or place.with_name("index.html").exists()):
            missing.append(page.name)
    assert missing == []


def test_no_page_loads_anything_from_other_hosts(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 70
    assert [page.name for page in pages if LOADED.search(page.read_text())] == []
    styles = "".join(sheet.read_text() for sheet in site.rglob("*.css"))
    assert not re.search(r"url\([\"']?(?:https?:)?//", styles)
