"""Which requests `desk` accepts: those of programs on this machine and in the stack, not those of other sites' pages.

Listening on 127.0.0.1 is not enough: any page that is open in a browser on this machine can send requests there. But a
page cannot choose the `Host` header, nor send JSON without a CORS preflight, which is never granted (docs/security.md).
"""

from ipaddress import ip_address
from typing import Any

from litestar import Request
from litestar.exceptions import HTTPException

# its names in the Compose network and, below, in a Kubernetes cluster
HOSTS = frozenset({"localhost", "desk"})
OWN_FORMS = "/notifications/"
CLUSTER = (".svc", ".svc.cluster.local")


def refuse_strangers(request: Request[Any, Any, Any]) -> None:
    """Raises 421 for another host name (DNS rebinding), 403 for another site's page, 415 if the body is not JSON."""
    # HTTP/1.0 has no Host, and browsers do not use it
    host = request.headers.get("host")
    if host is not None and not _is_here(host):
        raise HTTPException(status_code=421, detail=f"{host!r} is not a name of `desk`")
    # the inbox's own forms, whose origin `lab.desk.verdicts` checks
    if request.method == "GET" or request.url.path.startswith(OWN_FORMS):
        return
    if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        raise HTTPException(status_code=403, detail="web pages must not send requests to desk")
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(status_code=415, detail="must be application/json")


def _is_here(host: str) -> bool:
    """Whether the host is one of the names of `desk`, or an IP address, which DNS rebinding cannot use."""
    name = host.lower() if host.endswith("]") else host.lower().rsplit(":", 1)[0]
    if name in HOSTS or name.endswith(CLUSTER):
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
