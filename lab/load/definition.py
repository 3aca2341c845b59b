"""The definition of a load: a built-in profile or one from a file, with all defaults resolved."""

import math
import re
from pathlib import Path

import msgspec
from msgspec import Struct, field

from lab.load.arrivals import Phase
from lab.load.conditions import Condition, ConditionError
from lab.load.errors import CannotRunError
from lab.load.profiles import MIX, PROFILES
from lab.load.requests import Operation, Traffic

MAX_RATE = 10_000.0
MAX_SECONDS = 24 * 3600.0
SECONDS_OF = {"": 1, "s": 1, "m": 60, "h": 3600}


class Definition(Struct, frozen=True):
    """A load. `rate` is its highest rate in arrivals a second; `phases` is None for one that searches for a rate."""

    name: str
    rate: float
    seconds: float
    phases: list[Phase] | None
    traffic: Traffic
    begins_cold: bool = False
    thresholds: tuple[Condition, ...] = ()
    abort_on: tuple[Condition, ...] = ()


class FilePhase(Struct, frozen=True, forbid_unknown_fields=True):
    """A phase in a file: `rate` is one number, or the first and last of a linear ramp."""

    seconds: float
    rate: float | tuple[float, float]
    name: str = ""


class ProfileFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A custom profile, as a TOML file."""

    rate: float = 25.0
    time: str = "60s"
    mix: dict[Operation, float] = field(default_factory=lambda: dict(MIX))
    prepared: int = 200
    skew: float = 1.0
    phases: list[FilePhase] = []
    thresholds: list[str] = []
    abort_on: list[str] = []


def parse_time(text: str) -> float | None:
    """The seconds of a duration such as `90`, `90s`, `5m` or `1h`; None if it is invalid, or not from 1 s to 24 h."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    seconds = float(found[1]) * SECONDS_OF[found[2]] if found else 0.0
    return seconds if 1 <= seconds <= MAX_SECONDS else None


def is_file(profile: str) -> bool:
    """Whether a profile is given as a file, not by name."""
    return profile not in PROFILES and (profile.endswith(".toml") or "/" in profile)


def define(profile: str, rate: float | None = None, seconds: float | None = None) -> Definition:
    """The load of a profile's name or file, with another rate or duration if given. Raises `CannotRunError`."""
    if is_file(profile):
        return _of_file(Path(profile), rate, seconds)
    if profile not in PROFILES:
        raise CannotRunError(
            f"{profile!r} is not a profile: the profiles are {', '.join(PROFILES)}, or a path to a file"
        )
    kind = PROFILES[profile]
    shape = kind(rate, seconds)
    phases = None if kind.is_search else shape.phases()
    return Definition(profile, shape.rate, shape.seconds, phases, kind.traffic, kind.begins_cold)


def _of_file(path: Path, rate: float | None, seconds: float | None) -> Definition:
    try:
        written = msgspec.toml.decode(path.read_bytes(), type=ProfileFile)
        thresholds, abort_on = (tuple(map(Condition.parse, each)) for each in (written.thresholds, written.abort_on))
        return _definition(path.stem, written, rate, seconds, thresholds, abort_on)
    except OSError as error:
        raise CannotRunError(f"{path}: {error.strerror or error}") from error
    except (ConditionError, ValueError) as error:
        raise CannotRunError(f"{path}: {error}") from error


def _definition(
    name: str,
    written: ProfileFile,
    rate: float | None,
    seconds: float | None,
    thresholds: tuple[Condition, ...],
    abort_on: tuple[Condition, ...],
) -> Definition:
    length = parse_time(written.time)
    if length is None:
        raise ValueError(f"time={written.time!r} must be a time from 1s to 24h")
    if not written.mix or min(written.mix.values()) < 0 or not 0 < sum(written.mix.values()) < math.inf:
        raise ValueError("mix must give shares, such as read = 0.9")
    if not 1 <= written.prepared <= 100_000 or not 0 <= written.skew < math.inf:
        raise ValueError("prepared must be from 1 to 100000, and skew not negative")
    phases = [_phase(each, f"{name}-{number}") for number, each in enumerate(written.phases, 1)]
    phases = phases or [Phase(name, length, written.rate, written.rate)]
    own_rate = max(max(each.start_rate, each.end_rate) for each in phases)
    own_seconds = sum(each.seconds for each in phases)
    if not 0.1 <= own_rate <= MAX_RATE or not 1 <= own_seconds <= MAX_SECONDS:
        raise ValueError(f"rate must be from 0.1 to {MAX_RATE:g}, and the whole time from 1s to 24h")
    rate_factor, time_factor = (rate or own_rate) / own_rate, (seconds or own_seconds) / own_seconds
    phases = [
        Phase(each.name, each.seconds * time_factor, each.start_rate * rate_factor, each.end_rate * rate_factor)
        for each in phases
    ]
    return Definition(
        name,
        rate or own_rate,
        seconds or own_seconds,
        phases,
        Traffic(written.mix, prepared=written.prepared, skew=written.skew),
        thresholds=thresholds,
        abort_on=abort_on,
    )


def _phase(written: FilePhase, name: str) -> Phase:
    first, last = written.rate if isinstance(written.rate, tuple) else (written.rate, written.rate)
    if not all(map(math.isfinite, (first, last, written.seconds))) or written.seconds <= 0 or min(first, last) < 0:
        raise ValueError(f"phase {written.name or name}: seconds must be above 0 and rates not negative")
    return Phase(written.name or name, written.seconds, first, last)
