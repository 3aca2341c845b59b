"""Fuzzed `.env` files from a fixed seed."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from lab.env_file import EnvFileError, read_env_file
from testbed.compose import need_compose

SEED = 16
NAMES = ("GH_A", "GH_B", "GH_LONG_NAME")
# text with a meaning somewhere in such a file
BITS = ("x", "p@s/s%", " ", "#", " #c", "'", '"', "\\", "\\n", "$GH_A", "${GH_A}", "${GH_B:-d}", "${GH_B+e}", "$$")
BITS += ("=", ":", "1", "\t", "\u00e4", "${", "}", "$", "${GH_A", "\r")


def env_line(chance: random.Random) -> str:
    """A line that is valid or nearly so."""
    if not chance.randrange(10):
        return chance.choice(("# comment", "", "   ", "\t# c", "GH_A", "no name"))
    value = "".join(chance.choice(BITS) for _ in range(chance.randrange(5)))
    for quote in chance.choice(("'", '"', "", "")):
        value = quote + value.replace(quote, "") + quote
    name, equals = chance.choice(NAMES), chance.choice(("=", "=", "=", " = ", "= ", " ="))
    return chance.choice(("", "", "", "export ", " ")) + name + equals + value + chance.choice(("", "", " # note"))


def env_text(chance: random.Random) -> str:
    return "\n".join(env_line(chance) for _ in range(chance.randrange(1, 4))) + "\n"


def read(file: Path) -> dict[str, str] | None:
    """The settings that the native stack reads; None if it rejects the file."""
    try:
        return read_env_file(file)
    except EnvFileError as error:
        if ", line " not in str(error):
            raise
        return None


def test_fuzzed_env_files_are_parsed_or_reported_with_their_line(tmp_path: Path) -> None:
    chance, file, refused = random.Random(SEED), tmp_path / ".env", 0
    for number in range(3000):
        content = env_text(chance).encode()
        if number % 3 == 0:
            at = chance.randrange(len(content))
            content = content[:at] + bytes([chance.randrange(256)]) + content[at + chance.randrange(3) :]
        file.write_bytes(content)
        refused += read(file) is None
    assert 0 < refused < 2000


def compose_reads(folder: Path) -> dict[str, str] | None:
    """The settings that Docker Compose reads from `.env` in a folder; None if it rejects the file."""
    done = subprocess.run(
        ["docker", "compose", "--project-directory", str(folder), "config", "--format", "json"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in NAMES and name != "COMPOSE_FILE"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return None
    values = json.loads(done.stdout)["services"]["one"]["environment"]
    # in brackets, so that no blank is stripped, and in JSON, so that any value can be parsed
    return {name: value[1:-1].replace("$$", "$") for name, value in values.items() if value != "[unset]"}


@pytest.mark.parametrize(
    "count", [15, pytest.param(250, marks=[pytest.mark.long, pytest.mark.timeout(900)])], ids=["few", "many"]
)
def test_an_env_file_has_the_same_values_as_in_compose(tmp_path: Path, count: int) -> None:
    need_compose()
    lines = [f'      {name}: "[${{{name}-unset}}]"' for name in NAMES]
    head = ["name: fuzzed", "services:", "  one:", "    image: none", "    environment:"]
    (tmp_path / "compose.yaml").write_text("\n".join([*head, *lines, ""]))
    chance, differ = random.Random(SEED + count), []
    for _ in range(count):
        text = env_text(chance).replace("\r", "").replace("no name\n", "")
        (tmp_path / ".env").write_text(text)
        here, there = read(tmp_path / ".env"), compose_reads(tmp_path)
        # the value of a name alone comes from the environment, which is empty here
        if here != there:
            differ.append((text, here, there))
    assert differ == []
