"""Stores the settings with which the native stack was started, because `.env` may have changed since."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path

import msgspec

from lab.settings import LabSettings


def current(settings: LabSettings, chosen: Mapping[str, str]) -> dict[str, str]:
    """The current ports and other settings, by name."""
    return {**{name.upper(): str(port) for name, port in asdict(settings).items()}, **chosen}


def record(file: Path, settings: Mapping[str, str]) -> None:
    """Saves the settings of a start; only the owner can read the file."""
    write_private(file, json.dumps(settings, indent=2))


def write_private(file: Path, text: str) -> None:
    """Writes a file that only its owner can read, even if it existed with other permissions."""
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(text, encoding="utf-8")


def recorded(file: Path) -> dict[str, str]:
    """The settings of the last start; empty if there is no readable file."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    except (OSError, ValueError, RecursionError):
        return {}


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The settings that differ, as `NAME (before → now)`; only the name of headers, which contain passwords."""
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return [
        name if name.endswith("HEADERS") else f"{name} ({before.get(name, 'unset')} → {now.get(name, 'unset')})"
        for name in names
    ]


def ports(before: Mapping[str, str], settings: LabSettings) -> LabSettings:
    """The recorded ports; ports that are not recorded are taken from `settings`."""
    written = {each.name: before.get(each.name.upper(), "") for each in fields(LabSettings)}
    return replace(settings, **{name: int(text) for name, text in written.items() if re.fullmatch("[0-9]{1,5}", text)})
