"""Who speaks: the resource that every span and log record carries."""

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from service import __version__


class SharedResource(Resource):
    """A resource that knows its hash: the exporter asks for it at each span, and the SDK makes it from JSON anew."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def resource_of(replica: str) -> Resource:
    """This replica. What `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` say goes before what is said here."""
    own = {"service.name": "todo", "service.version": __version__, "service.instance.id": replica}
    return SharedResource(Resource.create({**own, **OTELResourceDetector().detect().attributes}))
