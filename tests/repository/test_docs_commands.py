"""Commands in the documentation exist: subcommands and options of `glasshouse`, make targets, Python modules."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from lab.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("examples/*.md"),
    *ROOT.glob("alerts/runbooks/*.md"),
]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`((?:\.venv/bin/)?(?:glasshouse|make|python -m) [^`\n]+)`")


class Command(NamedTuple):
    """A command in a page, as words."""

    page: str
    words: list[str]


def commands() -> Iterator[Command]:
    """The commands of all pages; those of a pipeline or list separately. Sections about older versions are skipped."""
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        text = page.read_text()
        lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
        for line in [*lines, *INLINE.findall(text)]:
            for part in re.split(r"&&|\||;", line.partition(" #")[0]):
                try:
                    words = shlex.split(part)
                except ValueError:
                    # an apostrophe in prose
                    continue
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    del words[0]
                if len(words) > 1:
                    yield Command(page.name, words)


def _of(program: str) -> list[Command]:
    return [each for each in commands() if each.words[0].removeprefix(".venv/bin/") == program]


def _unknown_of(words: list[str]) -> str:
    """The first subcommand or option that `glasshouse` does not have; empty if it has all of them."""
    context = click.Context(main)
    if words[0].startswith("--kubernetes"):
        # the following words belong to the subcommand
        words = list(dropwhile(lambda word: word not in COMMANDS, words)) or words
    command = main.get_command(context, words[0]) if not words[0].startswith("-") else main
    if command is None:
        return words[0]
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    # `--help` and `--version` are click's
    asked = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
    return min(asked - known - {"--help", "--version"}, default="")


def test_every_subcommand_and_option_of_glasshouse_exists() -> None:
    found = _of("glasshouse")
    assert len(found) > 60
    # `glasshouse COMMAND` and similar are placeholders
    named = [each for each in found if re.match(r"[a-z-]", each.words[1])]
    assert [f"{each.page}: {unknown}" for each in named if (unknown := _unknown_of(each.words[1:]))] == []


def test_every_target_of_make_exists() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    found = [(each.page, word) for each in _of("make") for word in each.words[1:2] if re.fullmatch(r"[a-z-]+", word)]
    assert len(found) > 20
    assert [f"{page}: make {target}" for page, target in found if target not in targets] == []


def test_every_module_run_with_python_m_exists() -> None:
    modules = [(each.page, each.words[2]) for each in _of("python") if each.words[1] == "-m"]
    assert len(modules) > 5
    assert [f"{page}: {name}" for page, name in modules if importlib.util.find_spec(name) is None] == []


@pytest.mark.parametrize("words", [["nothing"], ["tune", "--nothing"], ["--kubernetes", "load", "--nothing"]])
def test_references_to_missing_things_are_detected(words: list[str]) -> None:
    assert _unknown_of(words) == words[-1]
