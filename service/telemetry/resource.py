"""Who speaks: the resource that every span and log record carries."""

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from service import __version__


def resource_of(replica: str) -> Resource:
    """This replica. What `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` say goes before what is said here."""
    own = {"service.name": "todo", "service.version": __version__, "service.instance.id": replica}
    return Resource.create({**own, **OTELResourceDetector().detect().attributes})
