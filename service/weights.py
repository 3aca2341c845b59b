"""Parses headers with quality values, such as Accept and Accept-Encoding (RFC 9110, 12.4.2)."""

import re

# a comma inside a quoted string does not separate members
MEMBER = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*")+')
QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def weighted(header: bytes) -> dict[str, float]:
    """The quality of each member, by its name in lower case without parameters.

    Members with an invalid quality are omitted; of a repeated member the highest quality counts.
    """
    found: dict[str, float] = {}
    for member in MEMBER.findall(header.decode("latin-1")):
        name, *parameters = (part.strip().lower() for part in member.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = (part.strip() for part in parameter.partition("="))
            if key == "q":
                quality = float(value) if QUALITY.fullmatch(value) else -1.0
        if name and quality >= 0:
            found[name] = max(quality, found.get(name, 0.0))
    return found
