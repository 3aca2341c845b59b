"""The series that a PromQL expression selects, found in its text."""

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
    """A metric's name and its label matchers, as they are written."""

    name: str
    labels: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.labels}"

    @property
    def exact(self) -> str:
        """The selector with what is compared exactly; of the other labels only that they are there.

        An expression such as `code=~"5.."` may match nothing for as long as nothing fails; that there is no label
        `code`, or no `decision="allowed"`, is a mistake.
        """
        kept = [
            item[0] if item["how"] == "=" else f'{item["label"]}!=""'
            for item in _MATCHER.finditer(self.labels)
            if item["how"] == "=" or item["value"] not in ('".*"', '""')
        ]
        return f"{self.name}{{{', '.join(dict.fromkeys(kept))}}}" if kept else self.name


def selectors(promql: str) -> Iterator[Selector]:
    """Every selector of an expression, in the order in which they are written."""
    for found in _SELECTOR.finditer(_GROUPING.sub("", promql)):
        if found["name"] and found["name"] not in KEYWORDS:
            yield Selector(found["name"], found["labels"] or "")
