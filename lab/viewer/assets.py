"""The viewer's own files, and how pages load them.

The scripts are modules that import each other by `glasshouse/NAME`, which an import map resolves: to the server's
`/static/NAME`, or, in a page without a server, to the text itself.
"""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent / "static"
_PREFIX = "glasshouse/"
_SERVED_MAP = json.dumps({"imports": {_PREFIX: "/static/"}})


@cache
def page() -> str:
    """The HTML page for all addresses of the viewer; its script reads the address."""
    return (STATIC / "page.html").read_text(encoding="utf-8").replace("{{importmap}}", _SERVED_MAP)


@cache
def content_security_policy() -> str:
    """The content security policy: only this server's files, and the inline import map."""
    digest = base64.b64encode(hashlib.sha256(_SERVED_MAP.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def style() -> str:
    """The style sheet, with all rules scoped to the class `gh`."""
    return (STATIC / "style.css").read_text(encoding="utf-8")


def inline_import_map() -> str:
    """An import map (JSON) that contains all scripts, for a page without a server."""
    return json.dumps(
        {"imports": {_PREFIX + str(file.relative_to(STATIC)): _data(file) for file in sorted(STATIC.rglob("*.js"))}}
    )


def _data(file: Path) -> str:
    return "data:text/javascript;base64," + base64.b64encode(file.read_bytes()).decode()
