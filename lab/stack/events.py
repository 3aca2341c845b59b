"""Reports faults that the lab causes (part, kind, begin, end) to `desk`, which exposes them to Prometheus."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import msgspec

PUSH_SECONDS = 2.0
# If `desk` itself was the faulty part, it must still receive the end of the fault after its restart.
END_SECONDS = 15.0
RETRY_SECONDS = 0.5
# action → kinds of faults that it ends
ENDS = {"start": {"stop"}, "resume": {"pause"}, "restart": {"stop", "pause", "kill"}}


class FaultEvent(msgspec.Struct, frozen=True):
    """A fault of one or more parts (comma-separated). Times are unix seconds; `end` is None while it is active."""

    part: str
    kind: str
    begin: float
    end: float | None = None
    drill: str = ""


class FaultLog:
    """Reports faults to `desk` at a base URL. If it does not answer, `missed` counts the event, and nothing fails."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.missed = 0
        """Events that `desk` did not receive."""

    def begin(self, part: str, kind: str, drill: str = "") -> FaultEvent:
        """Reports that a fault begins now."""
        event = FaultEvent(part, kind, time.time(), None, drill)
        self._put(event)
        return event

    def end(self, event: FaultEvent) -> FaultEvent:
        """Reports that a fault ends now."""
        ended = msgspec.structs.replace(event, end=time.time())
        self._put(ended, END_SECONDS)
        return ended

    def active(self) -> list[FaultEvent]:
        """The active faults; none if `desk` does not answer."""
        with suppress(httpx.HTTPError, msgspec.MsgspecError):
            answer = httpx.get(f"{self._url}/faults.json", timeout=PUSH_SECONDS, trust_env=False).raise_for_status()
            events = msgspec.json.decode(answer.content, type=list[FaultEvent])
            return [each for each in events if each.end is None]
        return []

    @contextmanager
    def during(self, part: str, kind: str, drill: str = "") -> Iterator[FaultEvent]:
        """Reports a fault that is active while the block runs."""
        event = self.begin(part, kind, drill)
        try:
            yield event
        finally:
            self.end(event)

    @contextmanager
    def of_action(self, part: str, action: str) -> Iterator[None]:
        """Reports the faults that an action begins (`pause`, `kill`, `stop`, `restart`) and those that it ends."""
        event = None if action in {"start", "resume"} else self.begin(part, action)
        try:
            yield
        except BaseException:
            # the action failed, so there may be no fault
            if event:
                self.end(event)
            raise
        # the fault of a kill or restart ends with the action; that of a stop or pause stays active
        if event and action in {"kill", "restart"}:
            self.end(event)
        for each in self.active():
            if each.part == part and each.kind in ENDS.get(action, set()) and not each.drill:
                self.end(each)

    def _put(self, event: FaultEvent, within: float = 0.0) -> None:
        deadline = time.monotonic() + within
        while True:
            try:
                httpx.put(
                    f"{self._url}/faults",
                    content=msgspec.json.encode(event),
                    headers={"content-type": "application/json"},
                    timeout=PUSH_SECONDS,
                    trust_env=False,
                ).raise_for_status()
                return
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    self.missed += 1
                    return
                time.sleep(RETRY_SECONDS)
