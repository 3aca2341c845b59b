"""`.env`, read as Docker Compose reads it: quotes, comments behind a value, `export`, `$NAME` and `${NAME:-else}`.

python-dotenv parses lines and quotes. Where it differs from Compose, this module follows Compose: `$` has no meaning
within single quotes, `$NAME` is a variable too, `$$` is a dollar sign, and a `${` that begins no variable is an error.
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
    """`.env` is invalid; the message has the line and the reason."""


def read_env_file(file: Path) -> dict[str, str]:
    """The settings in a `.env` file; empty if the file does not exist. Raises `EnvFileError`.

    A name without a value (`NAME` alone on a line) is omitted, because Compose takes such a value from the environment.
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
    """The value of a line with its variables substituted. Raises `ValueError`."""
    written = binding.original.string.partition("=")[2].strip()
    text = binding.value or ""
    if written.startswith("'"):
        return text
    if written.startswith("#"):
        # Compose reads a `#` at the start of a value as part of it; a comment begins after a blank
        text = re.split(r"\s#", written)[0].rstrip()

    def filled(match: re.Match[str]) -> str:
        if match["odd"] is not None:
            raise ValueError(f"{_line(binding)!r}: write a dollar sign as $$, or between single quotes")
        if match["dollar"]:
            return "$"
        name, operator, other = match["bare"] or match["name"], match["operator"] or "", match["other"] or ""
        # the environment takes precedence over lines above
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
        raise EnvFileError(f"{file}, line {line}: contains a null byte, which no program can receive")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise EnvFileError(f"{file}, line {line}: not UTF-8 (byte {error.start}): save the file as UTF-8") from error
