"""`.env`, read as Docker Compose reads it: quotes, comments behind a value, `export`, `${NAME}`."""

import io
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream


class EnvFileError(ValueError):
    """`.env` cannot be read; the message names the line and says what is wrong with it."""


def read_env_file(file: Path) -> dict[str, str]:
    """The settings in a `.env` file; none where there is no such file. Raises `EnvFileError`.

    A name without a value (`NAME` alone on a line) is left out, since Compose takes such a value from the environment.
    """
    if not file.exists():
        return {}
    text = _decoded(file)
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            text = binding.original.string
            blank = len(text) - len(text.lstrip())
            number = binding.original.line + text[:blank].count("\n")
            raise EnvFileError(f"{file}, line {number}: {text.strip().splitlines()[0]!r} is not NAME=VALUE")
    # (interpolation is the library's, so that `${NAME}` means the environment's value before that of a line above)
    return {name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value is not None}


def _decoded(file: Path) -> str:
    """The text without a byte order mark, which editors on Windows put at the start."""
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise EnvFileError(f"{file}, line {line}: not UTF-8 (byte {error.start}): save the file as UTF-8") from error
