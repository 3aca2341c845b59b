"""Stores the settings with which the native stack was started, because `.env` may have changed since."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from lab.settings import LabSettings


def asked_for(settings: LabSettings, chosen: Mapping[str, str]) -> dict[str, str]:
    """The current ports and other settings, by name."""
    return {**{name.upper(): str(port) for name, port in asdict(settings).items()}, **chosen}


def record(file: Path, asked: Mapping[str, str]) -> None:
    """Saves the settings of a start; only the owner can read the file."""
    file.touch(mode=0o600)
    file.write_text(json.dumps(asked, indent=2))


def recorded(file: Path) -> dict[str, str]:
    """The settings of the last start; empty if there is no readable file."""
    try:
        found: dict[str, str] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The settings that differ, as `NAME (before → now)`."""
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return [f"{name} ({before.get(name, 'unset')} → {now.get(name, 'unset')})" for name in names]


def ports(before: Mapping[str, str], settings: LabSettings) -> LabSettings:
    """The recorded ports; ports that are not recorded are taken from `settings`."""
    return LabSettings(
        **{each.name: int(before.get(each.name.upper(), getattr(settings, each.name))) for each in fields(LabSettings)}
    )
