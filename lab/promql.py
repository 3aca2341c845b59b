"""Finds the series selectors in a PromQL expression.

Our own, because selectors need only a tokenizer; `promql-parser` on PyPI would add a compiled extension for that."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

KEYWORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset"}

_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_STRING = r'"(?:\\.|[^"\\])*"'
_SELECTOR = re.compile(
    rf"{_STRING}|\[[^\]]*\]|\boffset\s+\w+"
    rf"|(?<![\w:.$])(?P<name>[A-Za-z_:][\w:]*)(?![\w:]*\s*\()\s*(?P<labels>\{{(?:[^\"}}]|{_STRING})*\}})?"
)
_MATCHER = re.compile(rf"(?P<label>\w+)\s*(?P<how>=~|!~|!=|=)\s*(?P<value>{_STRING})")


@dataclass(frozen=True)
class Selector:
    """A metric's name and its label matchers."""

    name: str
    labels: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.labels}"

    @property
    def exact(self) -> str:
        """The selector with its exact matchers; for the other labels only that they exist.

        A matcher such as `code=~"5.."` may match nothing while nothing fails. But if there is no label `code` at all,
        or no `decision="allowed"`, the query is wrong.
        """
        kept = [
            item[0] if item["how"] == "=" else f'{item["label"]}!=""'
            for item in _MATCHER.finditer(self.labels)
            if item["how"] == "=" or item["value"] not in ('".*"', '""')
        ]
        return f"{self.name}{{{', '.join(dict.fromkeys(kept))}}}" if kept else self.name


def selectors(promql: str) -> Iterator[Selector]:
    """All selectors of an expression, in order."""
    for found in _SELECTOR.finditer(_GROUPING.sub("", promql)):
        if found["name"] and found["name"] not in KEYWORDS:
            yield Selector(found["name"], found["labels"] or "")
