"""LogQL's plain log queries (https://grafana.com/docs/loki/latest/query/log_queries/).

Supported: `{label="value", …}`, then line filters (`|= != |~ !~`), label filters (`| label >= 500 and other="x"`) and
`| line_format` with `{{.label}}` and `{{__line__}}`. Anything else (parsers, metric queries) is an error.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lab.tracestore.traceql import MAX_CHARACTERS, QueryError, pattern_of, unquoted

Labels = Mapping[str, str]
# a stage returns the line, or None if it is filtered out
Stage = Callable[[Labels, str], str | None]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)
      | (?P<number>-?\d+(?:\.\d+)?)(?![\w.])
      | (?P<sign>\|=|\|~|=~|!~|!=|==|>=|<=|[=<>{}|,()])
      | (?P<word>[A-Za-z_]\w*)
    )""",
    re.VERBOSE,
)
_FIELD = re.compile(r"\{\{\s*(?:\.(?P<label>\w+)|(?P<line>__line__))\s*\}\}")
_NUMBERS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}
_STRINGS = ("=", "!=", "=~", "!~")
Test = Callable[[Labels], bool]


@dataclass(frozen=True)
class LogQuery:
    """A parsed query. `trace_id` is the trace (hexadecimal) that the lines must belong to, if the query has one."""

    selects: Test
    stages: tuple[Stage, ...]
    trace_id: str | None = None

    def line_of(self, labels: Labels, line: str) -> str | None:
        """The formatted line; None if it does not match."""
        if not self.selects(labels):
            return None
        for stage in self.stages:
            shown = stage(labels, line)
            if shown is None:
                return None
            line = shown
        return line


def parse_logql(text: str) -> LogQuery:
    """Parses a query. Raises `QueryError`."""
    if len(text) > MAX_CHARACTERS:
        raise QueryError(f"a query has at most {MAX_CHARACTERS} characters")
    return _Parser(list(_tokens(text))).query()


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    place, text = 0, text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise QueryError(f"cannot read the query from {text[place : place + 20]!r} on")
        place = found.end()
        yield str(found.lastgroup), found[str(found.lastgroup)]


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._place = 0
        self._trace_id: str | None = None

    def query(self) -> LogQuery:
        self._expect("{")
        tests = [self._matcher()]
        while self._peek() == ",":
            self._next()
            tests.append(self._matcher())
        self._expect("}")
        stages = []
        while self._place < len(self._tokens):
            stages.append(self._stage())
        return LogQuery(lambda labels: all(test(labels) for test in tests), tuple(stages), self._trace_id)

    def _matcher(self) -> Test:
        name, operator = self._word(), self._next()[1]
        if operator not in _STRINGS:
            raise QueryError(f"{name} is compared with {', '.join(_STRINGS)}, not {operator!r}")
        return _string_test(name, operator, self._string())

    def _stage(self) -> Stage:
        sign = self._next()[1]
        if sign in ("|=", "!=", "|~", "!~"):
            return _line_filter(sign, self._string())
        if sign != "|":
            raise QueryError(f"expected a stage, not {sign!r}")
        if self._peek() == "line_format":
            self._next()
            return _line_format(self._string())
        test = self._alternatives()
        return lambda labels, line: line if test(labels) else None

    def _alternatives(self) -> Test:
        before, is_alone = self._trace_id, True
        tests = [self._conjunction()]
        while self._peek() == "or":
            is_alone = False
            self._next()
            tests.append(self._conjunction())
        if not is_alone:
            self._trace_id = before
        return lambda labels: any(test(labels) for test in tests)

    def _conjunction(self) -> Test:
        tests = [self._label_filter()]
        while self._peek() in ("and", ","):
            self._next()
            tests.append(self._label_filter())
        return lambda labels: all(test(labels) for test in tests)

    def _label_filter(self) -> Test:
        name, operator = self._word(), self._next()[1]
        kind, text = self._next()
        if kind == "number" and operator in _NUMBERS:
            return _number_test(name, operator, float(text))
        if kind != "string" or operator not in _STRINGS:
            raise QueryError(f"{name} {operator} {text} is not known here: compare a label with a string or a number")
        if name == "trace_id" and operator == "=":
            self._trace_id = unquoted(text)
        return _string_test(name, operator, unquoted(text))

    def _word(self) -> str:
        kind, text = self._next()
        if kind != "word":
            raise QueryError(f"expected a label's name, not {text!r}")
        return text

    def _string(self) -> str:
        kind, text = self._next()
        if kind != "string":
            raise QueryError(f"expected a string, not {text!r}")
        return unquoted(text)

    def _peek(self) -> str:
        return self._tokens[self._place][1] if self._place < len(self._tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self._place >= len(self._tokens):
            raise QueryError("the query ends too early")
        self._place += 1
        return self._tokens[self._place - 1]

    def _expect(self, sign: str) -> None:
        kind, text = self._next()
        if text != sign or kind == "string":
            raise QueryError(f"expected {sign!r}, not {text!r}")


def _string_test(name: str, operator: str, value: str) -> Test:
    """A missing label is the empty string, as in Loki."""
    if operator == "=":
        return lambda labels: labels.get(name, "") == value
    if operator == "!=":
        return lambda labels: labels.get(name, "") != value
    matches = pattern_of(value).fullmatch
    is_wanted = operator == "=~"
    return lambda labels: (matches(labels.get(name, "")) is not None) == is_wanted


def _number_test(name: str, operator: str, value: float) -> Test:
    compare = _NUMBERS[operator]

    def test(labels: Labels) -> bool:
        try:
            return compare(float(labels[name]), value)
        except (KeyError, ValueError):
            return False

    return test


def _line_filter(sign: str, value: str) -> Stage:
    if sign in ("|=", "!="):
        return lambda _, line: line if (value in line) == (sign == "|=") else None
    finds = pattern_of(value).search
    return lambda _, line: line if (finds(line) is not None) == (sign == "|~") else None


def _line_format(template: str) -> Stage:
    if "{{" in _FIELD.sub("", template):
        raise QueryError(f"line_format {template!r}: only {{{{.label}}}} and {{{{__line__}}}} are known here")
    return lambda labels, line: _FIELD.sub(
        lambda found: line if found["line"] else labels.get(found["label"], ""), template
    )
