"""The files of uPlot (https://github.com/leeoniya/uPlot, MIT), the chart library that the viewer draws with.

They are in the package `youplot`, of which nothing else is used. Since that is not uPlot's own package, the files are
compared with the digest of release 1.6.31 before they are served.
"""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

LICENCE = "uPlot 1.6.31, copyright (c) Leon Sorokin, MIT licence, https://github.com/leeoniya/uPlot"
_CARRIER = "youplot"
_PUBLISHED = {
    "uplot.iife.min.js": "2d27e8ad3d228164525ce213f9dc716f39b4e3aee0cc773fb3491c96cf4921a2",
    "uplot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}


class LibraryError(Exception):
    """The chart library is missing, or differs from the release; the message says which."""


@cache
def library_file(name: str) -> str:
    """The text of `uplot.iife.min.js` or `uplot.min.css`. Raises `LibraryError`."""
    try:
        file = Path(str(distribution(_CARRIER).locate_file(f"{_CARRIER}/vendor/{name}")))
        content = file.read_bytes()
    except (PackageNotFoundError, OSError) as error:
        raise LibraryError(f"the chart library is not installed ({error}): install requirements/dev.txt") from error
    if hashlib.sha256(content).hexdigest() != _PUBLISHED[name]:
        raise LibraryError(f"{file} is not uPlot 1.6.31 as published: install requirements/dev.txt again")
    return content.decode()
