"""The service's own encoder of spans, held against OpenTelemetry's."""

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace import set_span_in_context as in_context
from opentelemetry.util.types import AttributeValue

from service.telemetry.otlp import encode_request, encode_span
from service.telemetry.spans import NO_PARENT, SAMPLED, RecordedSpan, SpanTracer

RESOURCE = Resource({"service.name": "todo", "service.instance.id": "todo-1"})
ATTRIBUTES: dict[str, AttributeValue] = {
    "text": "Wässere die Pflanzen 🌱",
    "empty": "",
    "long": "x" * 70_000,
    "yes": True,
    "no": False,
    "one": 1,
    "zero": 0,
    "negative": -1,
    "large": 2**62,
    "ratio": 0.1,
    "many": ("a", "b"),
    "several": ["c", "d"],
}


def spans() -> list[RecordedSpan]:
    """A failed server span with an exception, a child of it in another scope, and a bare one."""
    ended: list[RecordedSpan] = []
    ours, theirs = SpanTracer(("service", "1.0"), ended.append), SpanTracer(("redis", ""), ended.append)
    server = ours.start_span("GET /tasks", NO_PARENT, SpanKind.SERVER)
    child = theirs.start_span("GET", in_context(server), SpanKind.CLIENT, attributes=ATTRIBUTES)
    child.end()
    server.path = "/tasks/ä" + "x" * 200
    server.set_status(StatusCode.ERROR)
    server.record_exception(ValueError("what went wrong"))
    server.end()
    ours.start_span("bare", NO_PARENT).end()
    return ended


def as_theirs(span: RecordedSpan) -> ReadableSpan:
    """The same span as OpenTelemetry's SDK has it."""
    return ReadableSpan(
        span.name,
        context=span.get_span_context(),
        parent=SpanContext(span.trace_id, span.parent_id, span.is_parent_remote) if span.parent_id else None,
        resource=RESOURCE,
        attributes=span.attributes | ({"url.path": span.path} if span.path else {}),
        events=[Event(name, attributes, moment) for name, moment, attributes in span.events],
        kind=span.kind,
        status=Status(span.status),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=InstrumentationScope(*span.scope),
    )


def test_spans_are_encoded_as_opentelemetry_does_it() -> None:
    made = spans()
    ours = ExportTraceServiceRequest.FromString(
        encode_request(RESOURCE, [(span.scope, encode_span(span)) for span in made])
    )
    theirs = encode_spans([as_theirs(span) for span in made])
    assert len(ours.resource_spans) == len(theirs.resource_spans) == 1
    assert ours.resource_spans[0].resource == theirs.resource_spans[0].resource
    for each in (ours, theirs):
        for scoped in each.resource_spans[0].scope_spans:
            for span in scoped.spans:
                # an unset status may be left out, and theirs leaves out the flags of the trace (sampled)
                span.status.SetInParent()
                span.flags |= int(SAMPLED)
    scopes = [
        {scoped.scope.name: list(scoped.spans) for scoped in each.resource_spans[0].scope_spans}
        for each in (ours, theirs)
    ]
    assert scopes[0] == scopes[1]
    assert {name: len(found) for name, found in scopes[0].items()} == {"service": 2, "redis": 1}
