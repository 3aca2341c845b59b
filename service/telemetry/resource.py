"""The OpenTelemetry resource of all spans and log records: which service and replica they come from."""

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from service import __version__


class SharedResource(Resource):
    """A resource with a cached hash. For speed: the exporter hashes it for each span, and the SDK does so by JSON."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def resource_of(replica: str) -> Resource:
    """This replica's resource. `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` take precedence."""
    own = {"service.name": "todo", "service.version": __version__, "service.instance.id": replica}
    return SharedResource(Resource.create({**own, **OTELResourceDetector().detect().attributes}))
