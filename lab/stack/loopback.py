"""The two loopback addresses: `localhost` means `::1` first on many machines, and others have no IPv6."""

import socket


def has_ipv6_loopback() -> bool:
    """Whether this machine has `::1`, which `localhost` may mean first."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
