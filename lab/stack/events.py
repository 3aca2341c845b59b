"""Faults that the lab causes, told to the desk: who was broken, how, from when to when. Prometheus reads them there."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import msgspec

PUSH_SECONDS = 2.0
# a desk that was broken itself is up again within this, and must know that the fault has ended
END_SECONDS = 15.0
AGAIN_SECONDS = 0.5
# what ends a fault of which kind
ENDS = {"start": {"stop"}, "resume": {"pause"}, "restart": {"stop", "pause", "kill"}}


class FaultEvent(msgspec.Struct, frozen=True):
    """A fault of one part, or of several with commas between. Times are unix seconds; `end` is None while it stands."""

    part: str
    kind: str
    begin: float
    end: float | None = None
    drill: str = ""


class FaultLog:
    """Tells the desk at a base URL. A desk that is away is no reason not to break something, but `missed` counts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.missed = 0
        """Events that the desk did not take."""

    def begin(self, part: str, kind: str, drill: str = "") -> FaultEvent:
        """A fault begins now."""
        event = FaultEvent(part, kind, time.time(), None, drill)
        self._put(event)
        return event

    def end(self, event: FaultEvent) -> FaultEvent:
        """It ends now."""
        ended = msgspec.structs.replace(event, end=time.time())
        self._put(ended, END_SECONDS)
        return ended

    def standing(self) -> list[FaultEvent]:
        """The faults that have not ended; none where the desk does not answer."""
        with suppress(httpx.HTTPError, msgspec.MsgspecError):
            answer = httpx.get(f"{self._url}/faults.json", timeout=PUSH_SECONDS, trust_env=False).raise_for_status()
            events = msgspec.json.decode(answer.content, type=list[FaultEvent])
            return [each for each in events if each.end is None]
        return []

    @contextmanager
    def during(self, part: str, kind: str, drill: str = "") -> Iterator[FaultEvent]:
        """A fault that stands as long as the block runs."""
        event = self.begin(part, kind, drill)
        try:
            yield event
        finally:
            self.end(event)

    @contextmanager
    def of_action(self, part: str, action: str) -> Iterator[None]:
        """What `pause`, `kill`, `stop` and `restart` begin, and `start`, `resume` and `restart` end."""
        begun = None if action in {"start", "resume"} else self.begin(part, action)
        yield
        # what a kill or a restart does is over when the part runs again; a stop and a pause stand
        if begun and action in {"kill", "restart"}:
            self.end(begun)
        for each in self.standing():
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
                time.sleep(AGAIN_SECONDS)
