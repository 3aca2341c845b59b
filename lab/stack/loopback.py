"""IPv6 loopback. On many machines `localhost` resolves to `::1` first; others have no IPv6."""

import socket


def has_ipv6_loopback() -> bool:
    """Whether this machine has the address `::1`."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
