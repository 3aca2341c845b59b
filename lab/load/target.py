"""Checks the host to load: whether that is allowed, and whether it responds."""

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from lab.load.errors import CannotRunError
from lab.settings import START

LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Address:
    """The resolved address to connect to, and the local address to connect from, if one is given."""

    host: str
    family: int
    socket_address: Any
    source: str | None = None


def check_target(host: str, allow_remote: bool) -> None:
    """Checks that the base URL `host` is a stack that may be loaded. Raises `CannotRunError`."""
    name = _host_name(host)
    if not name:
        raise CannotRunError(
            f"--host {host}: must be a base URL such as http://127.0.0.1:5000, without a path, query or password"
        )
    try:
        addresses = addresses_of(name)
    # a label of more than 63 characters cannot be encoded (UnicodeError)
    except (OSError, UnicodeError) as error:
        raise CannotRunError(f"--host {host}: {name} has no address ({error})") from error
    if not allow_remote and not addresses <= local_addresses():
        raise CannotRunError(f"{name} is not this machine: if you may load it, use --allow-remote")
    try:
        answer = httpx.get(f"{host}/health/live", timeout=5, trust_env=False, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CannotRunError(f"nothing answers at {host} ({error}): start the stack, {START}") from error
    if answer.status_code != httpx.codes.OK:
        raise CannotRunError(f"{host}/health/live answers {answer.status_code}: see `glasshouse status`")


def _host_name(host: str) -> str:
    """The host name of `http://HOST[:PORT]`; empty for any other URL: requests would ignore the rest of it."""
    try:
        parts = urlsplit(host)
        is_base = parts.scheme == "http" and not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
        return (parts.hostname or "") if is_base and (parts.port is None or parts.port) else ""
    except ValueError:
        return ""


def addresses_of(name: str) -> set[str]:
    """The addresses of a host name. Raises `OSError`."""
    return {str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}


def local_addresses() -> set[str]:
    """The addresses of this machine's interfaces, and the loopback addresses that simulated clients use."""
    interfaces = psutil.net_if_addrs().values()
    found = {address.address.partition("%")[0] for each in interfaces for address in each}
    return found | {"127.0.0.1", "::1"}


def on_loopback(host: str) -> bool:
    """Whether the base URL `host` resolves to a loopback address, so that each client can have an address."""
    return all(ipaddress.ip_address(each).is_loopback for each in addresses_of(urlsplit(host).hostname or ""))


def client_address(client: int) -> str:
    """The loopback address of a client: 127.0.1.1 for number 0, and so on (all of 127/8 is local on Linux)."""
    return str(ipaddress.IPv4Address("127.0.1.1") + client)


def resolve(host: str, source: str | None = None) -> Address:
    """The address for all connections to the base URL `host`: the first on which something listens.

    Raises `OSError`.
    """
    parts = urlsplit(host)
    found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    chosen = next(filter(_is_listened_on, found), found[0]) if len(found) > 1 else found[0]
    return Address(parts.netloc, chosen[0], chosen[4], source)


def _is_listened_on(info: Any) -> bool:
    with socket.socket(info[0], socket.SOCK_STREAM) as probe:
        probe.settimeout(LOOK_SECONDS)
        return probe.connect_ex(info[4]) == 0
