"""The settings that the running native stack was started with: what it listens on, whatever `.env` says since."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from lab.settings import LabSettings


def asked_for(settings: LabSettings, chosen: Mapping[str, str]) -> dict[str, str]:
    """Ports and other settings by name, as they would be for a start now."""
    return {**{name.upper(): str(port) for name, port in asdict(settings).items()}, **chosen}


def record(file: Path, asked: Mapping[str, str]) -> None:
    """Keeps the settings of a start; only their owner may read them."""
    file.touch(mode=0o600)
    file.write_text(json.dumps(asked, indent=2))


def recorded(file: Path) -> dict[str, str]:
    """The settings of the last start; none where there is no readable record."""
    try:
        found: dict[str, str] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Each setting that differs, as `NAME (before → now)`."""
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return [f"{name} ({before.get(name, 'unset')} → {now.get(name, 'unset')})" for name in names]


def ports(before: Mapping[str, str], settings: LabSettings) -> LabSettings:
    """The recorded ports; those of `settings` where none is recorded."""
    return LabSettings(
        **{each.name: int(before.get(each.name.upper(), getattr(settings, each.name))) for each in fields(LabSettings)}
    )
