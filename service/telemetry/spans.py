"""Spans that cost little: OpenTelemetry's API, without the SDK's tracer behind it.

It exists for speed. A span of the SDK costs 25 µs here and more (bounded attributes, a lock, a sampler that is asked
again), a sixth of a cached read, and a cached read makes three. These do the same for what this service uses of the
API: attributes, a status, exceptions. Who calls it, the Redis instrumentation for one, sees no difference.
"""

import random
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import Attributes, AttributeValue

from service.telemetry.instruments import Exemplar

Event = tuple[str, int, Mapping[str, AttributeValue]]
"""Name, time in nanoseconds since 1970, attributes."""
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
NO_PARENT = Context()


class RecordedSpan(trace.Span):
    """One span, recorded until `end`, which hands it to `ended`. Times are in nanoseconds since 1970.

    The ids stand here as they are, and not in a `SpanContext`, whose every property is a call.
    """

    __slots__ = (
        "_context",
        "_ended",
        "attributes",
        "end_time",
        "events",
        "exemplar",
        "is_parent_remote",
        "kind",
        "name",
        "parent_id",
        "path",
        "scope",
        "span_id",
        "start_time",
        "status",
        "trace_id",
    )

    def __init__(
        self,
        name: str,
        scope: tuple[str, str],
        kind: SpanKind,
        parent: "tuple[int, int, bool]",
        attributes: dict[str, AttributeValue],
        start_time: int,
        ended: "Callable[[RecordedSpan], None]",
    ) -> None:
        """`parent` is the trace's id, the parent span's id or 0 for a root, and whether that is in another process."""
        self.name = name
        self.scope = scope
        self.kind = kind
        self.trace_id, self.parent_id, self.is_parent_remote = parent
        self.span_id = random.getrandbits(64)
        self.attributes = attributes
        # few have any, and a list for each would be one more object for the garbage collector to look at
        self.events: tuple[Event, ...] = ()
        self.status = StatusCode.UNSET
        self.start_time = start_time
        self.end_time = 0
        self.path = ""
        """The attribute `url.path` of a server span; apart from the others, since only it is not of few values."""
        self.exemplar: Exemplar | None = None
        self._ended = ended
        self._context: SpanContext | None = None

    def end(self, end_time: int | None = None) -> None:
        """Ends the span and hands it on, the first time it is called."""
        if not self.end_time:
            self.end_time = end_time or time.time_ns()
            self._ended(self)

    def get_span_context(self) -> SpanContext:
        """Trace id and span id."""
        if self._context is None:
            self._context = SpanContext(self.trace_id, self.span_id, False, SAMPLED)
        return self._context

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Sets several attributes."""
        self.attributes.update(attributes)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Sets one attribute."""
        self.attributes[key] = value

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Notes that something happened."""
        self.events += ((name, timestamp or time.time_ns(), attributes or {}),)

    def update_name(self, name: str) -> None:
        """Renames the span."""
        self.name = name

    def is_recording(self) -> bool:
        """Whether it has not ended."""
        return not self.end_time

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Sets the status. A description is not kept: the exception, if there is one, says more."""
        self.status = status.status_code if isinstance(status, Status) else status

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Notes an exception, by the semantic conventions."""
        noted: dict[str, AttributeValue] = {
            "exception.type": type(exception).__qualname__,
            "exception.message": str(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
        }
        self.add_event("exception", noted | dict(attributes or {}), timestamp)


class CurrentSpan(AbstractContextManager[RecordedSpan]):
    """Makes a span the current one inside a `with`, and ends it there. An exception marks it failed."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: RecordedSpan) -> None:
        self._span = span

    def __enter__(self) -> RecordedSpan:
        self._token = contexts.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_: TracebackType | None
    ) -> None:
        contexts.detach(self._token)
        if error is not None:
            self._span.record_exception(error)
            self._span.set_status(StatusCode.ERROR)
            self._span.set_attribute("error.type", type(error).__qualname__)
        self._span.end()


class SpanTracer(trace.Tracer):
    """Makes spans of one instrumentation scope. Every one is recorded: who asks has decided that before."""

    def __init__(self, scope: tuple[str, str], ended: Callable[[RecordedSpan], None]) -> None:
        self._scope = scope
        self._ended = ended

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        trace_id: int | None = None,
    ) -> RecordedSpan:
        """A span, a child of the one in `context` or of the current one; a root takes `trace_id` if it is given."""
        above = trace.get_current_span(context)
        if type(above) is RecordedSpan:
            parent = above.trace_id, above.span_id, False
        elif (caller := above.get_span_context()).is_valid:
            parent = caller.trace_id, caller.span_id, caller.is_remote
        else:
            parent = trace_id or random.getrandbits(128), 0, False
        own = dict(attributes) if attributes else {}
        return RecordedSpan(name, self._scope, kind, parent, own, start_time or time.time_ns(), self._ended)

    def start_as_current_span(  # type: ignore[override]
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """A span that is the current one inside a `with`."""
        return CurrentSpan(self.start_span(name, context, kind, attributes, links, start_time))


class SpanTracerProvider(trace.TracerProvider):
    """Gives a tracer to each instrumentation. `ended` is told of every span that ends."""

    def __init__(self, ended: Callable[[RecordedSpan], None]) -> None:
        self._ended = ended

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> SpanTracer:
        """A tracer for one instrumentation scope."""
        return SpanTracer((instrumenting_module_name, instrumenting_library_version or ""), self._ended)
