"""A faster span class behind the interface of OpenTelemetry's SDK. Everything else of tracing is the SDK's.

The SDK's span validates each attribute, keeps it in an ordered dictionary behind a lock, and is copied when it ends.
That costs more than the rest of a cached read (docs/performance.md has the profile). A `LeanSpan` is a `ReadableSpan`
from the start, with its attributes in a dict. That is safe only if each span is used by one thread, as here, and if
attributes have valid types.
"""

import time
import traceback
from collections.abc import ItemsView, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import Attributes, AttributeValue

from service.telemetry.failure import class_name, error_type
from service.telemetry.instruments import Exemplar

SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class NoState(TraceState):
    """An empty `tracestate`, which most traces have. For speed: the exporter reads it for each span."""

    def items(self) -> ItemsView[str, str]:
        """Always empty."""
        return NOTHING


NOTHING: ItemsView[str, str] = {}.items()
NO_STATE = NoState()


class LeanSpan(trace.Span, ReadableSpan):
    """A recorded span. Times are in nanoseconds since 1970."""

    _attributes: dict[str, AttributeValue]
    _context: SpanContext
    # nothing is ever dropped
    dropped_attributes = dropped_events = dropped_links = 0

    def __init__(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: dict[str, AttributeValue],
        start_time: int,
        tracer: "LeanTracer",
    ) -> None:
        # as ReadableSpan.__init__ would set them
        self._name = name
        self._context = context
        self._parent = parent
        self._kind = kind
        self._attributes = attributes
        self._start_time = start_time
        self._end_time = None
        self._events: Sequence[Event] = ()
        self._links: Sequence[Link] = ()
        # unset: the exporter omits it
        self._status = None  # type: ignore[assignment]
        self._resource = tracer.resource
        self._instrumentation_info = None
        self._instrumentation_scope = tracer.scope
        self._tracer = tracer
        self.exemplar: Exemplar | None = None

    def get_span_context(self) -> SpanContext:
        """Trace id and span id."""
        return self._context

    def end(self, end_time: int | None = None) -> None:
        """Ends the span and passes it to the provider's processors. Later calls do nothing."""
        if self._end_time is None:
            self._end_time = end_time or time.time_ns()
            self._tracer.ended(self)

    def replace_attributes(self, attributes: dict[str, AttributeValue]) -> None:
        """Sets these attributes, which it then owns, and removes all others."""
        self._attributes = attributes

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Sets several attributes."""
        self._attributes.update(attributes)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Sets one attribute."""
        self._attributes[key] = value

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Adds an event."""
        self._events = (*self._events, Event(name, attributes, timestamp))

    def update_name(self, name: str) -> None:
        """Renames the span."""
        self._name = name

    def is_recording(self) -> bool:
        """Whether it has not ended yet."""
        return self._end_time is None

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Sets the status."""
        self._status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Adds an exception as an event, by the semantic conventions."""
        noted: dict[str, AttributeValue] = {
            "exception.type": class_name(exception),
            "exception.message": str(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
        }
        self.add_event("exception", noted | dict(attributes or {}), timestamp)


class CurrentSpan(AbstractContextManager[LeanSpan]):
    """Makes a span the current one inside a `with`, and ends it. An exception sets `error.type`, and adds no event."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: LeanSpan) -> None:
        self._span = span

    def __enter__(self) -> LeanSpan:
        self._token = contexts.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_: TracebackType | None
    ) -> None:
        contexts.detach(self._token)
        if isinstance(error, Exception):
            self._span.set_attribute("error.type", error_type(error))
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class LeanTracer(trace.Tracer):
    """Creates spans of one instrumentation scope. All are recorded: the caller has made the sampling decision."""

    def __init__(self, provider: TracerProvider, resource: Resource, scope: InstrumentationScope) -> None:
        self.resource = resource
        self.scope = scope
        self._ids = provider.id_generator
        # all of the provider's processors, also those that are added later
        self.ended = provider._active_span_processor.on_end

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
    ) -> LeanSpan:
        """Starts a span, as a child of the span in `context` or of the current one."""
        parent: SpanContext | None = trace.get_current_span(context).get_span_context()
        if parent is not None and parent.is_valid:
            trace_id, state = parent.trace_id, parent.trace_state
        else:
            parent, trace_id, state = None, self._ids.generate_trace_id(), NO_STATE
        own = SpanContext(trace_id, self._ids.generate_span_id(), False, SAMPLED, state)
        return LeanSpan(
            name, own, parent, kind, dict(attributes) if attributes else {}, start_time or time.time_ns(), self
        )

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
        """Starts a span that is the current one inside a `with`."""
        return CurrentSpan(self.start_span(name, context, kind, attributes, links, start_time))


class LeanTracerProvider(TracerProvider):
    """The SDK's provider, with tracers that create `LeanSpan`s."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        """A tracer for one instrumentation scope."""
        return self.lean_tracer(instrumenting_module_name, instrumenting_library_version or "", schema_url)

    def lean_tracer(self, name: str, version: str, schema_url: str | None = None) -> LeanTracer:
        """Like `get_tracer`, with its exact type."""
        return LeanTracer(self, self.resource, InstrumentationScope(name, version, schema_url))
