"""Entity tags (RFC 9110, 8.8.3) of something that has a version, and conditions on them (13.1).

A tag is strong and names the version and the content coding, as `"7"` or `"7-gzip"`, since the bytes differ by both.
"""

import re

TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
LIST = re.compile(rf"[ \t,]*(?:{TAG.pattern}[ \t]*(?:,[ \t,]*|$))+")
VERSION = re.compile(r"([1-9][0-9]{0,8})(?:-(?:br|gzip))?")


def entity_tag(version: int | str, coding: str) -> str:
    """The tag of a representation. `coding` is empty where it is not encoded."""
    return f'"{version}-{coding}"' if coding else f'"{version}"'


def is_current(if_none_match: str, tag: str) -> bool:
    """Whether the client has the representation with this tag: then 304. The comparison is weak."""
    if if_none_match.strip() == "*":
        return True
    return any(f'"{opaque}"' == tag for _, opaque in _tags(if_none_match))


def versions(if_match: str) -> set[int]:
    """The versions that an If-Match names, in whatever coding. The comparison is strong: weak tags name none."""
    found = (VERSION.fullmatch(opaque) for weak, opaque in _tags(if_match) if not weak)
    return {int(each[1]) for each in found if each}


def _tags(header: str) -> list[tuple[str, str]]:
    # a list with anything else in it is none
    return TAG.findall(header) if LIST.fullmatch(header) else []
