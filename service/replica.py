"""What this replica is called."""

import socket
from pathlib import Path

from dns.exception import DNSException
from dns.resolver import Resolver


def replica_name() -> str:
    """This container's name as Docker's name server has it, `todo-1`, or else the host's name.

    Asked of the name server itself: the system's own look-up finds the container's id in /etc/hosts.
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
