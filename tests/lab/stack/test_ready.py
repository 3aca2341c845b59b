"""How long `glasshouse up` waits, and its messages about parts that do not start."""

from pathlib import Path
from typing import Any

import pytest

from lab.stack import ready
from lab.stack.native import Program, StackError
from testbed import free_port


class States:
    """A supervisor that returns one list of states after the other, and then repeats the last."""

    def __init__(self, *states: list[dict[str, Any]]) -> None:
        self._states = list(states)

    def programs(self) -> list[dict[str, Any]]:
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]


def state(name: str, statename: str, start: int = 1, spawnerr: str = "") -> dict[str, Any]:
    return {"name": name, "statename": statename, "start": start, "spawnerr": spawnerr}


def never(name: str) -> Program:
    """A part on whose port no process listens."""
    return Program(name, "", f"127.0.0.1:{free_port()}")


def test_a_part_that_supervisor_gave_up_is_named_with_its_last_log_line(tmp_path: Path) -> None:
    (tmp_path / "redis-1.log").write_text("Reading the configuration file\nFATAL CONFIG FILE ERROR\n\n")
    with pytest.raises(StackError, match=r"redis-1 does not start: FATAL CONFIG FILE ERROR \(/.*/redis-1.log\)"):
        ready.await_ready(
            States([state("redis-1", "FATAL"), state("desk", "RUNNING")]), [never("redis-1"), never("desk")], tmp_path
        )


def test_a_part_that_keeps_exiting_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready.time, "sleep", lambda _: None)
    states = [[state("desk", "BACKOFF", start, "can't find command 'x'")] for start in range(ready.MAX_STARTS + 1)]
    with pytest.raises(StackError, match=r"desk does not start: can't find command 'x' \("):
        ready.await_ready(States(*states), [never("desk")], tmp_path)


def test_parts_that_are_not_healthy_in_time_are_reported_with_their_last_log_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "READY_SECONDS", 0)
    (tmp_path / "postgres.log").write_text("recovering\n")
    with pytest.raises(StackError, match=r"not healthy within another 0 s: postgres: recovering \("):
        ready.await_ready(States([state("postgres", "RUNNING")]), [never("postgres")], tmp_path)
