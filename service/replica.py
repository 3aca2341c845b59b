"""The name of this replica."""

import socket
from pathlib import Path

from dns.exception import DNSException
from dns.resolver import Resolver


def replica_name() -> str:
    """The container's name from Docker's DNS, such as `todo-1`; outside of Docker the host name.

    Queries the DNS server directly, because the system's resolver finds the container's id in /etc/hosts.
    """
    host = socket.gethostname()
    if not Path("/.dockerenv").exists():
        return host
    try:
        resolver = Resolver()
        resolver.lifetime = 2
        answer = resolver.resolve_address(socket.gethostbyname(host))
    except (DNSException, OSError):
        return host
    # PROJECT-todo-1.NETWORK.
    name = str(answer[0]).split(".")[0]
    return "-".join(name.split("-")[-2:])
