"""Drills are complete, end their faults, and report them to `desk`."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from click.testing import CliRunner
from litestar.testing import TestClient

from lab.alerts.drills import causes, command, runner
from lab.alerts.drills.causes import caused
from lab.alerts.drills.command import drill
from lab.alerts.drills.definition import LONG_MEMORY, Cause, Drill, DrillError, by_fault, expectations, load_drills
from lab.alerts.drills.report import summary, write
from lab.alerts.drills.runner import DrillRunner, Level, Outcome, first_received
from lab.alerts.tuning.form import load_watched
from lab.alerts.tuning.truth import Expected, Fault
from lab.desk.app import create_app
from lab.desk.disk import Disk
from lab.desk.gateway_log import GatewayLog
from lab.desk.inbox import Inbox
from lab.desk.runbooks import Runbooks
from lab.settings import LabSettings
from lab.stack import events
from lab.stack.events import FaultLog
from lab.stack.faults import DockerStack, NativeStack
from lab.stack.native import StackError
from lab.stack.repeated import paused_repeatedly
from testbed.conditions import wait_for

DRILLS = load_drills()
ALERTS = load_watched()


class RecordedStack:
    """A stack that only records its actions; an action on the part `broken` fails."""

    way = "native"

    def __init__(self) -> None:
        self.done: list[str] = []

    def parts(self) -> dict[str, str]:
        return {"redis-1": "running", "redis-2": "running"}

    def act(self, action: str, part: str) -> None:
        if part == "broken":
            raise StackError("cannot")
        self.done.append(f"{action} {part}")

    def stuttering(self, parts: Sequence[str], every: float, pause: float) -> AbstractContextManager[None]:
        return paused_repeatedly(self.act, parts, every, pause)

    def command(self, part: str, settings: LabSettings) -> list[str]:
        return ["true", part]


def test_every_alert_has_a_drill_or_a_reason_why_it_has_none() -> None:
    assert sorted(DRILLS) == sorted(ALERTS)


@pytest.mark.parametrize("name", sorted(DRILLS))
def test_drills_refer_only_to_existing_alerts(name: str) -> None:
    each = DRILLS[name]
    assert {*each.may, *each.with_it} <= set(ALERTS)
    assert each.cannot or each.cause
    assert not each.only or each.why


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A: {}", "needs either a cause or a reason"),
        ("A: {cannot: x, cause: {do: stop, parts: [a]}}", "needs either a cause or a reason"),
        ("A: {cause: {do: explode}}", "do"),
        ("A: {cannot: x, within: soon}", "is not a duration"),
        ("A: [", "expected"),
    ],
)
def test_an_invalid_drill_is_reported(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yml").write_text(text)
    with pytest.raises(DrillError, match=message):
        load_drills(tmp_path)


def test_a_drill_always_ends_its_fault() -> None:
    stack = RecordedStack()
    with pytest.raises(KeyboardInterrupt), caused(stack, Cause("pause", ["redis-1"]), LabSettings()):
        raise KeyboardInterrupt
    assert stack.done == ["pause redis-1", "resume redis-1"]
    # if the fault could be caused on only one of two parts, it is still ended on that one
    stack = RecordedStack()
    with pytest.raises(StackError), caused(stack, Cause("stop", ["redis-1", "broken"]), LabSettings()):
        pass
    assert stack.done == ["stop redis-1", "start redis-1"]


def test_a_part_that_was_paused_repeatedly_runs_at_the_end() -> None:
    stack = RecordedStack()
    with caused(stack, Cause("stutter", ["redis-1"], every=0.01, pause=0.01), LabSettings()):
        deadline = time.monotonic() + 10
        while stack.done.count("pause redis-1") < 3:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert stack.done[-1] == "resume redis-1"


def test_how_a_stack_is_paused_repeatedly_is_up_to_the_stack() -> None:
    class Loop(RecordedStack):
        @contextmanager
        def stuttering(self, parts: Sequence[str], every: float, pause: float) -> Iterator[None]:
            self.done.append(f"{' '.join(parts)}: {every:g} {pause:g}")
            yield

    stack = Loop()
    with caused(stack, Cause("stutter", ["redis-1", "redis-2"], every=0.4, pause=0.6), LabSettings()):
        assert stack.done == ["redis-1 redis-2: 0.4 0.6"]
    assert sorted(stack.done[1:]) == ["resume redis-1", "resume redis-2"]


@pytest.mark.parametrize(
    ("part", "ping", "actions"),
    [
        ("redis-1", "true", ["pause", "resume"]),
        ("redis-1", "sleep 60", ["pause", "resume", "restart"]),
        ("todo-1", "sleep 60", ["pause", "resume"]),
    ],
)
def test_a_redis_node_that_hangs_after_it_was_resumed_is_restarted(
    monkeypatch: pytest.MonkeyPatch, part: str, ping: str, actions: list[str]
) -> None:
    class Hanging(RecordedStack):
        def command(self, part: str, settings: LabSettings) -> list[str]:
            return ["sh", "-c", f"exec {ping}"]

    monkeypatch.setattr(causes, "HUNG_SECONDS", 0.5)
    stack, said = Hanging(), list[str]()
    with caused(stack, Cause("pause", [part]), LabSettings(), said.append):
        pass
    assert stack.done == [f"{action} {part}" for action in actions]
    assert len(said) == actions.count("restart")


@pytest.mark.parametrize("kind", [NativeStack, DockerStack])
def test_a_stack_without_a_way_of_its_own_pauses_and_resumes_all_parts_at_once(
    kind: type[NativeStack | DockerStack], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    paused = threading.Barrier(2)

    def act(self: object, action: str, part: str) -> None:
        # both parts are paused before one of them is resumed
        paused.wait(10)
        done.append((action, part))

    monkeypatch.setattr(kind, "act", act)
    stack = object.__new__(kind)
    with stack.stuttering(["todo-1", "todo-2"], every=0.01, pause=0.01):
        wait_for(lambda: len(done) >= 6, what="three repetitions")
    assert [{action for action, _ in done[at : at + 2]} for at in (0, 2, 4)] == [{"pause"}, {"resume"}, {"pause"}]


def test_a_manual_fault_may_fire_the_alerts_of_its_drill_but_need_not() -> None:
    drills = {"A": Drill(Cause("pause", ["redis-1"]), may=["B"], clears="60s"), "C": Drill(Cause("pause", ["redis-1"]))}
    found = expectations(drills)
    by_hand = found.of(Fault("redis-1", "pause", 0, 1))
    assert by_hand == Expected({}, LONG_MEMORY | {"A", "B", "C"}, 120_000)
    assert found.of(Fault("redis-1", "pause", 0, 1, drill="A")) == Expected({"A": 60_000}, LONG_MEMORY | {"B"}, 60_000)
    assert found.of(Fault("redis-9", "stutter", 0, 1)) is None
    assert found.of(Fault("redis", "pause", 0, 1)) == by_hand
    assert found.of(Fault("postgres", "pause", 0, 1)) is None


@pytest.mark.parametrize("kind", ["pause", "stop", "kill", "restart"])
def test_an_absent_part_may_fire_the_alerts_of_any_drill_in_which_such_a_part_is_absent(kind: str) -> None:
    drills = {"A": Drill(Cause("kill", ["todo-2"])), "B": Drill(Cause("stop", ["todo-1", "todo-2"]), may=["X"])}
    for part in ("todo-3", "todo-1,todo-2"):
        assert expectations(drills).of(Fault(part, kind, 0, 1)) == Expected({}, LONG_MEMORY | {"A", "B", "X"}, 120_000)


def test_the_load_profile_abuse_may_fire_the_alerts_of_its_drill() -> None:
    abused = expectations(load_drills()).of(Fault("load", "abuse", 0, 1))
    assert abused
    assert "RateLimitRejections" in abused.may


def test_a_stack_without_a_part_runs_the_drill_on_its_replacement() -> None:
    cause = Cause("stop", ["tempo"], instead=["tracestore"])
    assert cause.on({"tempo": "up", "redis-1": "up"}).part == "tempo"
    assert cause.on({"tracestore": "up"}).part == "tracestore"
    assert Cause("stop", ["tempo"]).on({}).part == "tempo"
    found = expectations({"SpansDropped": Drill(cause)})
    for part in ("tempo", "tracestore"):
        by_hand = found.of(Fault(part, "stop", 0, 1))
        assert by_hand
        assert "SpansDropped" in by_hand.may


def test_drills_of_the_same_fault_are_one_fault_that_must_raise_the_alert_of_each() -> None:
    stop = Cause("stop", ["postgres"])
    drills = {
        "A": Drill(stop, within="60s", may=["X"], clears="60s"),
        "B": Drill(Cause("pause", ["postgres"])),
        "C": Drill(stop, within="90s", may=["Y"], clears="180s"),
    }
    assert [list(each) for each in by_fault(drills)] == [["A", "C"], ["B"]]
    expected = expectations(drills).of(Fault("postgres", "stop", 0, 1, drill="A,C"))
    assert expected == Expected({"A": 60_000, "C": 90_000}, LONG_MEMORY | {"X", "Y"}, 180_000)


def test_desk_receives_the_end_of_its_own_fault_once_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    def put(url: str, content: bytes, **_: object) -> httpx.Response:
        sent.append(content)
        if len(sent) in {2, 3}:
            raise httpx.ConnectError("away")
        return httpx.Response(204, request=httpx.Request("PUT", url))

    monkeypatch.setattr(events.httpx, "put", put)
    monkeypatch.setattr(events, "RETRY_SECONDS", 0.0)
    log = FaultLog("http://desk")
    with log.during("desk", "stop"):
        pass
    assert len(sent) == 4
    assert log.missed == 0


def test_an_alert_that_has_fired_for_long_does_not_count_as_notified() -> None:
    def notification(number: int, received: float, *alerts: tuple[str, str, str]) -> dict[str, Any]:
        items = [
            {
                "labels": {"alertname": "TargetDown", "job": job},
                "status": status,
                "startsAt": f"2026-11-27T{at}.123456789Z",
            }
            for job, status, at in alerts
        ]
        return {"number": number, "received": received, "message": {"alerts": items}}

    always = ("tempo", "firing", "15:00:00")
    calm = datetime(2026, 11, 27, 16, 0, tzinfo=UTC).timestamp()
    newest_first = [
        notification(4, 130.0, always, ("postgres", "firing", "16:01:00")),
        notification(3, 110.0, always, ("postgres", "resolved", "16:00:30")),
        notification(2, 100.0, ("postgres", "firing", "16:00:30")),
    ]
    assert first_received(newest_first, "TargetDown", 2, calm) == 130
    assert first_received(newest_first[1:], "TargetDown", 2, calm) == 0
    assert first_received(newest_first, "TargetDown", 1, calm) == 100


def test_desk_exposes_a_fault_while_it_is_active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(Inbox(), GatewayLog(tmp_path / "none"), Disk(tmp_path), Runbooks("http://127.0.0.1:3000"))
    client = TestClient[Any](app, base_url="http://127.0.0.1:8060")

    def put(url: str, content: bytes, headers: dict[str, str], **_: object) -> Any:
        return client.put("/faults", content=content, headers=headers)

    def get(url: str, **_: object) -> Any:
        return client.get("/faults.json")

    monkeypatch.setattr(events.httpx, "put", put)
    monkeypatch.setattr(events.httpx, "get", get)
    log = FaultLog("http://desk")
    metric = 'fault_active{drill="",kind="pause",part="redis-1"}'
    with log.of_action("redis-1", "pause"):
        pass
    assert f"{metric} 1.0" in client.get("/metrics").text
    assert [each.part for each in log.active()] == ["redis-1"]
    with log.of_action("redis-1", "resume"):
        pass
    assert f"{metric} 0.0" in client.get("/metrics").text
    assert log.active() == []
    with suppress(StackError), log.of_action("redis-1", "pause"):
        raise StackError("it cannot be paused")
    assert f"{metric} 0.0" in client.get("/metrics").text
    with log.during("redis-2", "stop", "RedisNodeDown"):
        assert 'fault_active{drill="RedisNodeDown",kind="stop",part="redis-2"} 1.0' in client.get("/metrics").text
        # starting the part by hand does not end the fault of a drill
        with log.of_action("redis-2", "start"):
            pass
        assert len(log.active()) == 1
    assert client.put("/faults", json={"part": ""}).status_code == 400
    assert client.put("/faults", json={"part": "a", "kind": "b", "begin": 5, "end": 4}).status_code == 400
    assert log.missed == 0


def test_a_fault_can_be_caused_while_desk_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "END_SECONDS", 0.0)
    log = FaultLog("http://127.0.0.1:9")
    with log.during("redis-1", "pause"):
        assert log.active() == []
    assert log.missed == 2


def test_a_report_has_a_row_for_each_drill_and_counts_what_failed(tmp_path: Path) -> None:
    outcomes = [
        Outcome(
            "A",
            "stop",
            "a",
            fires=12.0,
            notified=20.0,
            cleared=9.0,
            beside=["B"],
            before=Level(100, 1, 0.9),
            after=Level(300, 151, -2.5),
        ),
        Outcome("E", "stop", "a", fires=12.0, held=True, cleared=9.0, before=Level(100, 1, 0.9), after=Level(5, 0)),
        Outcome("<C>", "stop", "c", wrong=["did not fire within 60s"]),
        Outcome("D", skipped="cannot be caused: why"),
    ]
    write(outcomes, tmp_path / "drills", "native")
    page = (tmp_path / "drills/report.html").read_text()
    assert "12 s" in page
    assert "inhibited" in page
    # the alert inbox restarted before the second, and its count restarted at 0
    assert re.findall(r"\d+ of \d+", page) == ["150 of 200"]
    assert "90.0% → -250.0%" in page
    assert "&lt;C&gt;" in page
    assert summary(outcomes) == "2 passed, 1 failed, 1 not run; recall 0.67"


def test_a_drill_without_a_stack_or_of_an_unknown_alert_is_one_line_of_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.alerts.drills.command.running_stack", _no_stack)
    for arguments, message in (
        (["Nothing"], "there is no drill Nothing"),
        ([], "name an alert, or use --all"),
        (["RedisNodeDown"], "no stack is running"),
    ):
        done = CliRunner().invoke(drill, [*arguments, "--runs", str(tmp_path)])
        assert done.exit_code == 2
        assert done.stderr.startswith("glasshouse drill: ")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert "RedisNodeDown" in CliRunner().invoke(drill, ["--list"]).stdout


def _no_stack() -> None:
    raise StackError("no stack is running: start one with `make up` or `make native`")


@pytest.mark.parametrize(("state", "tries"), [("Up 2 minutes (Paused)", 3), ("paused", 3), ("Up 2 minutes", 1)])
def test_a_part_that_is_still_paused_is_resumed_though_the_engine_failed(
    monkeypatch: pytest.MonkeyPatch, state: str, tries: int
) -> None:
    tried: list[str] = []

    class Engine(RecordedStack):
        def parts(self) -> dict[str, str]:
            if len(tried) == 1 and tries > 1:
                raise StackError("`docker compose ps`: timeout")
            return {"redis-1": state}

        def act(self, action: str, part: str) -> None:
            if action == "resume":
                tried.append(part)
                if len(tried) < 3:
                    raise StackError("`docker compose ps`: timeout")

    monkeypatch.setattr(causes, "RETRY_SECONDS", 0.01)
    with caused(Engine(), Cause("pause", ["redis-1"]), LabSettings()):
        pass
    assert len(tried) == tries


def test_the_load_of_a_killed_drill_ends() -> None:
    runs = (
        "import time; from lab.alerts.drills.causes import load; from lab.settings import LabSettings\n"
        "with load(LabSettings(gateway_port=9), 'steady', 1): time.sleep(60)"
    )
    command = subprocess.Popen([sys.executable, "-c", runs])

    def children() -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(command.pid).children(recursive=True)
        return []

    wait_for(lambda: len(children()) >= 2, what="the load")
    left = children()
    command.kill()
    command.wait()
    _, alive = psutil.wait_procs(left, timeout=60)
    assert alive == []


class QuietRunner(DrillRunner):
    """A runner on a stack without firing alerts."""

    def _firing(self) -> list[tuple[str, Sequence[str]]]:
        return []

    def _starting(self) -> bool:
        return False


def test_setting_the_clock_back_does_not_prolong_the_quiet_period_before_a_drill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def wall() -> float:
        asked.append(1)
        assert len(asked) < 100, "waits for the clock"
        return 1_800_000_000.0 if len(asked) < 3 else 1_700_000_000.0

    monkeypatch.setattr("time.time", wall)
    monkeypatch.setattr(runner, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(runner, "ASK_SECONDS", 0.01)
    unused: Any = None
    drills = QuietRunner(unused, LabSettings(), unused, unused, lambda text: None, frozenset())
    assert drills._await_calm() < drills.now()


class InstantRunner(DrillRunner):
    """A runner whose faults take no time."""

    def settle(self, rate: float) -> None:
        pass

    def run(self, drills: Mapping[str, Drill]) -> list[Outcome]:
        return [Outcome(name, fires=1.0, cleared=1.0) for name in drills]


@pytest.mark.parametrize(
    ("status", "verdict"), [(None, "passed"), (3, "aborted: the load has ended with exit status 3")]
)
def test_a_drill_fails_if_its_load_has_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int | None, verdict: str
) -> None:
    class Load:
        returncode = status

        def poll(self) -> int | None:
            return status

    monkeypatch.setattr(command, "load", lambda *_: nullcontext(Load()))
    monkeypatch.setattr(command, "_record", lambda *_: None)
    unused: Any = None
    drills = InstantRunner(unused, LabSettings(), unused, unused, lambda text: None, frozenset())
    outcomes = command._with_load(drills, {"RedisNodeDown": DRILLS["RedisNodeDown"]}, 15, tmp_path)
    assert [each.verdict for each in outcomes] == [verdict]
