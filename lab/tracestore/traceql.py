"""Compiles simple TraceQL queries to SQL (https://grafana.com/docs/tempo/latest/traceql/).

Supported: one `{ … }` with comparisons joined by `&&` and `||`, with parentheses, then `| select(…)`. Fields are the
intrinsics below and attributes (`span.`, `resource.`, or `.` for either). Anything else (structural operators,
aggregates, arithmetic, metrics) is an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import re2

MAX_CHARACTERS = 4096
MAX_DEPTH = 32
# SQLite nests conditions, up to a depth of its own
MAX_CONDITIONS = 200
# of an integer in SQLite
MAX_INTEGER = (1 << 63) - 1

# field → SQL, of a span `s` of a trace `t`; durations and times in nanoseconds
_INTRINSICS = {
    "name": "s.name",
    "status": "s.status",
    "kind": "s.kind",
    "duration": "s.duration",
    "traceDuration": "(t.end - t.start)",
    "rootName": "t.root_name",
    "rootServiceName": "t.root_service",
    "span:name": "s.name",
    "span:status": "s.status",
    "span:kind": "s.kind",
    "span:duration": "s.duration",
    "span:id": "lower(hex(s.span_id))",
    "trace:duration": "(t.end - t.start)",
    "trace:rootName": "t.root_name",
    "trace:rootService": "t.root_service",
    "trace:id": "lower(hex(t.trace_id))",
}
# attributes that are columns
_COLUMNS = {
    "span.http.route": "s.route",
    ".http.route": "s.route",
    "span.http.response.status_code": "s.code",
    ".http.response.status_code": "s.code",
    "resource.service.name": "s.service",
    ".service.name": "s.service",
}
INTRINSIC_NAMES = tuple(name for name in _INTRINSICS if ":" not in name)
STATUSES = {"unset": 0, "ok": 1, "error": 2}
KINDS = {"unspecified": 0, "internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_NANOSECONDS = {"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}
_RE2 = re2.Options()
_RE2.log_errors = False
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)
      | (?P<duration>(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+)
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<sign>&&|\|\||=~|!~|!=|>=|<=|[=<>{}()|,])
      | (?P<word>\.?(?:"[^"]*"|[A-Za-z_])[\w.:/\-]*)
    )""",
    re.VERBOSE,
)
_OPERATORS = {"=", "!=", ">", ">=", "<", "<=", "=~", "!~"}


class QueryError(ValueError):
    """An invalid or unsupported query; the message says where."""


@dataclass(frozen=True)
class Query:
    """SQL that is true for a matching span `s` of a trace `t`, its parameters, and the attributes to show of it."""

    sql: str
    parameters: tuple[str | int | float, ...]
    selected: tuple[str, ...] = ()

    @property
    def matches_all(self) -> bool:
        """Whether every span matches."""
        return self.sql == "1"


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def parse(text: str) -> Query:
    """Parses a query. An empty one matches everything. Raises `QueryError`."""
    if len(text) > MAX_CHARACTERS:
        raise QueryError(f"a query has at most {MAX_CHARACTERS} characters")
    if not text.strip():
        return Query("1", ())
    return _Parser(list(_tokens(text))).query()


def nanoseconds(text: str) -> int:
    """A duration such as `1m30s` or `250ms`. Raises `QueryError`."""
    parts = _DURATION.findall(text)
    if not parts or "".join(amount + unit for amount, unit in parts) != text:
        raise QueryError(f"{text!r} is not a duration: write 100ms, 1.5s or 2m")
    total = sum(float(amount) * _NANOSECONDS[unit] for amount, unit in parts)
    if not total < MAX_INTEGER:
        raise QueryError(f"{text!r} is too long a duration")
    return round(total)


def field_sql(field: str) -> tuple[str, tuple[str, ...]]:
    """SQL and parameters of a field of a span. Raises `QueryError`."""
    if field in _INTRINSICS:
        return _INTRINSICS[field], ()
    if field in _COLUMNS:
        return _COLUMNS[field], ()
    scope, _, name = field.partition(".")
    name = name.strip('"')
    if not name or scope not in ("", "span", "resource"):
        raise QueryError(f"{field} is not a supported field: {', '.join(INTRINSIC_NAMES)}, span.…, resource.…")
    resource = "(SELECT resource_attribute(o.resource, ?) FROM origins o WHERE o.id = s.origin)"
    if scope == "span":
        return "span_attribute(s.data, ?)", (name,)
    if scope == "resource":
        return resource, (name,)
    return f"coalesce(span_attribute(s.data, ?), {resource})", (name, name)


def _tokens(text: str) -> Iterator[_Token]:
    place, text = 0, text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise QueryError(f"cannot read the query from {text[place : place + 20]!r} on")
        place = found.end()
        yield _Token(str(found.lastgroup), found[str(found.lastgroup)])


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._parameters: list[str | int | float] = []
        self._conditions = 0

    def query(self) -> Query:
        self._expect("{")
        sql = "1" if self._peek() == "}" else self._alternatives(0)
        self._expect("}")
        selected: tuple[str, ...] = ()
        if self._peek() == "|":
            self._next()
            selected = self._selection()
        if self._place < len(self._tokens):
            raise QueryError(
                f"{self._peek()!r} after {{ … }} is not known here: only one {{ … }} and `| select(…)` are"
            )
        return Query(sql, tuple(self._parameters), selected)

    def _selection(self) -> tuple[str, ...]:
        if self._next().text != "select":
            raise QueryError("after | only select(…) is known here")
        self._expect("(")
        fields = [self._next().text]
        while self._peek() == ",":
            self._next()
            fields.append(self._next().text)
        self._expect(")")
        for field in fields:
            field_sql(field)
        return tuple(fields)

    def _alternatives(self, depth: int) -> str:
        parts = [self._conjunction(depth)]
        while self._peek() == "||":
            self._next()
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"

    def _conjunction(self, depth: int) -> str:
        parts = [self._condition(depth)]
        while self._peek() == "&&":
            self._next()
            parts.append(self._condition(depth))
        return parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"

    def _condition(self, depth: int) -> str:
        if self._peek() == "(":
            if depth >= MAX_DEPTH:
                raise QueryError(f"parentheses are nested at most {MAX_DEPTH} deep")
            self._next()
            inner = self._alternatives(depth + 1)
            self._expect(")")
            return inner
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise QueryError(f"a query has at most {MAX_CONDITIONS} conditions")
        word = self._next()
        if word.text in ("true", "false"):
            return "1" if word.text == "true" else "0"
        if word.kind != "word":
            raise QueryError(f"expected a field, not {word.text!r}")
        operator = self._next().text
        if operator not in _OPERATORS:
            raise QueryError(f"expected a comparison after {word.text}, not {operator!r}")
        return self._comparison(word.text, operator, self._next())

    def _comparison(self, field: str, operator: str, token: _Token) -> str:
        sql, parameters = field_sql(field)
        self._parameters += parameters
        if token.text == "nil" and token.kind == "word":
            if operator not in ("=", "!="):
                raise QueryError("nil is only equal (=) or not (!=)")
            return f"{sql} IS {'NOT ' if operator == '!=' else ''}NULL"
        value = _value(field, token)
        if operator in ("=~", "!~"):
            if not isinstance(value, str):
                raise QueryError(f"{operator} compares with a string")
            pattern_of(value)
            self._parameters.append(value)
            return f"({sql} {'NOT ' if operator == '!~' else ''}REGEXP ?)"
        self._parameters.append(value)
        if operator in ("=", "!="):
            return f"{sql} {operator} ?"
        if parameters:
            # SQLite orders text after numbers; TraceQL compares only values of the same type
            sql = f"{'as_text' if isinstance(value, str) else 'as_number'}({sql})"
        return f"{sql} {operator} ?"

    def _peek(self) -> str:
        return self._tokens[self._place].text if self._place < len(self._tokens) else ""

    def _next(self) -> _Token:
        if self._place >= len(self._tokens):
            raise QueryError("the query ends too early")
        self._place += 1
        return self._tokens[self._place - 1]

    def _expect(self, sign: str) -> None:
        token = self._next()
        if token.text != sign or token.kind == "string":
            raise QueryError(f"expected {sign!r}, not {token.text!r}")


def _value(field: str, token: _Token) -> str | int | float:
    if token.kind == "string":
        return unquoted(token.text)
    if token.kind == "duration":
        return nanoseconds(token.text)
    if token.kind == "number":
        number = float(token.text) if "." in token.text else int(token.text)
        if isinstance(number, int) and abs(number) > MAX_INTEGER:
            raise QueryError(f"{token.text} is too large a number")
        return number
    names = {"status": STATUSES, "kind": KINDS}.get(field.removeprefix("span:"), {"true": 1, "false": 0})
    if token.text not in names:
        raise QueryError(f"{field} is compared with {', '.join(names)} or a string, number or duration: {token.text!r}")
    return names[token.text]


def unquoted(text: str) -> str:
    """The value of a string in double quotes or backquotes."""
    if text.startswith("`"):
        return text[1:-1]
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), text[1:-1])


@lru_cache(256)
def pattern_of(text: str) -> Any:
    """A compiled regular expression; RE2, as in Tempo and Loki, takes linear time. Raises `QueryError`."""
    try:
        return re2.compile(text, _RE2)
    except (re2.error, UnicodeEncodeError) as error:
        why = error.args[0].decode(errors="replace") if isinstance(error, re2.error) else error
        raise QueryError(f"{text!r} is not a valid regular expression: {why}") from error
