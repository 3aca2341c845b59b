"""Entity tags (RFC 9110, 8.8.3) made of a version, and the conditions If-Match and If-None-Match (13.1).

Tags are strong. They contain the version and the content coding, such as `"7"` or `"7-gzip"`, since the bytes differ by
both.
"""

import re

TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
LIST = re.compile(rf"[ \t,]*(?:{TAG.pattern}[ \t]*(?:,[ \t,]*|$))+")
VERSION = re.compile(r"([1-9][0-9]{0,8})(?:-(?:br|gzip))?")


def entity_tag(version: int | str, coding: str) -> str:
    """The tag of a representation. `coding` is empty if it is not encoded."""
    return f'"{version}-{coding}"' if coding else f'"{version}"'


def is_current(if_none_match: str, tag: str) -> bool:
    """Whether If-None-Match contains this tag, by weak comparison: the response is 304 then."""
    if if_none_match.strip() == "*":
        return True
    return any(f'"{opaque}"' == tag for _, opaque in _tags(if_none_match))


def versions(condition: str, *, weakly: bool = False) -> set[int]:
    """The versions in a condition, in any content coding. If-Match compares strongly: weak tags match nothing."""
    found = (VERSION.fullmatch(opaque) for weak, opaque in _tags(condition) if weakly or not weak)
    return {int(each[1]) for each in found if each}


def is_of(version: int, if_match: str) -> bool:
    """Whether an If-Match holds for a thing at this version."""
    return if_match.strip() == "*" or version in versions(if_match)


def _tags(header: str) -> list[tuple[str, str]]:
    # a list that contains anything else is invalid, and matches nothing
    return TAG.findall(header) if LIST.fullmatch(header) else []
