"""Who may speak to the desk: programs of this machine and of the stack, and no web page of elsewhere.

To listen on 127.0.0.1 is no fence: any page that is open in a browser here can send requests there. It cannot choose
the `Host` that the browser sends, nor send JSON without a preflight, which is never granted (docs/security.md).
"""

from ipaddress import ip_address
from typing import Any

from litestar import Request
from litestar.exceptions import HTTPException

# in the compose network the desk is called by its name, in a Kubernetes cluster by that of its service
HOSTS = frozenset({"localhost", "desk"})
OWN_FORMS = "/notifications/"
CLUSTER = (".svc", ".svc.cluster.local")


def refuse_strangers(request: Request[Any, Any, Any]) -> None:
    """Raises 421 for a host that is not this one (DNS rebinding), 403 for a page of elsewhere, 415 for no JSON."""
    # HTTP/1.0 has none, and no browser speaks that
    host = request.headers.get("host")
    if host is not None and not _is_here(host):
        raise HTTPException(status_code=421, detail=f"{host!r} is no name of the desk")
    # the inbox' own form, which `lab.desk.verdicts` holds against the page's origin
    if request.method == "GET" or request.url.path.startswith(OWN_FORMS):
        return
    if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        raise HTTPException(status_code=403, detail="no web page may send to the desk")
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(status_code=415, detail="must be application/json")


def _is_here(host: str) -> bool:
    """Whether the host is one of the desk's names, or an address: only a name can be made to lead elsewhere."""
    name = host.lower() if host.endswith("]") else host.lower().rsplit(":", 1)[0]
    if name in HOSTS or name.endswith(CLUSTER):
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
