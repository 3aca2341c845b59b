"""Lists whose members have a quality, such as Accept and Accept-Encoding (RFC 9110, 12.4.2)."""

import re

# a comma within a quoted string ends no member
MEMBER = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*")+')
QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def weighted(header: bytes) -> dict[str, float]:
    """Each member in lower case without its parameters, and its quality; one whose quality is none is left out.

    Of a member that comes twice the higher quality counts.
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
