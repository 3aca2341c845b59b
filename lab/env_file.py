"""`.env`, read as Docker Compose reads it: quotes, comments behind a value, `export`, `$NAME` and `${NAME:-else}`.

Lines and quotes are python-dotenv's to read. What it does otherwise than Compose is done here: between single quotes
`$` means nothing, `$NAME` is a variable too, `$$` is a dollar, and a `${` that begins no variable is an error.
"""

import io
import os
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv.parser import Binding, parse_stream

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
VARIABLE = re.compile(
    rf"\$(?:(?P<dollar>\$)|(?P<bare>{NAME})|\{{(?P<name>{NAME})(?:(?P<operator>:?[-+])(?P<other>[^${{}}]*))?\}}|(?P<odd>(?=\{{)))"
)


class EnvFileError(ValueError):
    """`.env` cannot be read; the message names the line and says what is wrong with it."""


def read_env_file(file: Path) -> dict[str, str]:
    """The settings in a `.env` file; none where there is no such file. Raises `EnvFileError`.

    A name without a value (`NAME` alone on a line) is left out, since Compose takes such a value from the environment.
    """
    if not file.exists():
        return {}
    found: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(_decoded(file))):
        if binding.error:
            raise EnvFileError(f"{_place(file, binding)}: {_line(binding)!r} is not NAME=VALUE")
        if binding.key is not None and binding.value is not None:
            try:
                found[binding.key] = _value(binding, found)
            except ValueError as error:
                raise EnvFileError(f"{_place(file, binding)}: {error}") from error
    return found


def _value(binding: Binding, above: Mapping[str, str]) -> str:
    """The value of a line, its variables filled in. Raises `ValueError`."""
    written = binding.original.string.partition("=")[2].strip()
    text = binding.value or ""
    if written.startswith("'"):
        return text
    if written.startswith("#"):
        # no comment: one follows a value
        text = re.split(r"\s#", written)[0].rstrip()

    def filled(match: re.Match[str]) -> str:
        if match["odd"] is not None:
            raise ValueError(f"{_line(binding)!r}: write a dollar sign as $$, or between single quotes")
        if match["dollar"]:
            return "$"
        name, operator, other = match["bare"] or match["name"], match["operator"] or "", match["other"] or ""
        # the environment's value before that of a line above
        value = os.environ.get(name, above.get(name))
        is_there = bool(value) if operator.startswith(":") else value is not None
        if operator.endswith("+"):
            return other if is_there else ""
        return (value or "") if is_there else other

    return VARIABLE.sub(filled, text)


def _line(binding: Binding) -> str:
    return binding.original.string.strip().splitlines()[0]


def _place(file: Path, binding: Binding) -> str:
    text = binding.original.string
    blank = len(text) - len(text.lstrip())
    return f"{file}, line {binding.original.line + text[:blank].count(chr(10))}"


def _decoded(file: Path) -> str:
    """The text without a byte order mark, which editors on Windows put at the start."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise EnvFileError(f"{file}: {error.strerror}") from error
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise EnvFileError(f"{file}, line {line}: has a null byte: no program can be given that")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise EnvFileError(f"{file}, line {line}: not UTF-8 (byte {error.start}): save the file as UTF-8") from error
