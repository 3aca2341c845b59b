"""Parses the settings `DATABASE_URL` and `REDIS_URL`.

Errors are `UrlError` (a ValueError); their text contains nothing of the URL but names of options, since it has secrets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

Address = tuple[str, int]

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# The connection parameters of libpq (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS)
# that asyncpg supports, and `ssl`, which is SQLAlchemy's name for `sslmode`
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
POSTGRES_OPTIONS = frozenset(
    {
        *("ssl", "sslmode", "sslpassword", "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version"),
        *("target_session_attrs", "application_name", "passfile", "krbsrvname", "gsslib", "host", "port"),
        *FILES,
    }
)
REDIS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"})
CERT_REQUIREMENTS = ("none", "optional", "required")


class UrlError(ValueError):
    """What is wrong with a URL, without its secret parts."""


def database_url(text: str) -> URL:
    """Parses a URL for SQLAlchemy, with libpq's options."""
    try:
        url = make_url(text)
        url.port  # noqa: B018 (raises if it is not a number)
    except (ArgumentError, ValueError) as error:
        raise UrlError("it cannot be read") from error
    if url.drivername == "sqlite+aiosqlite":
        # each connection would have an in-memory database of its own
        if url.database in (None, "", ":memory:"):
            raise UrlError("it has no file")
        if url.query:
            raise UrlError(f"unknown option {min(url.query)}")
        return url
    if url.drivername != "postgresql+asyncpg":
        raise UrlError("it is for another database")
    if url.port is not None and not 0 < url.port < 65536:
        raise UrlError("its port is invalid")
    options = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    if unknown := options.keys() - POSTGRES_OPTIONS:
        raise UrlError(f"unknown option {min(unknown)}")
    if "ssl" in options:
        options["sslmode"] = options.pop("ssl")
    mode = options.get("sslmode", "prefer")
    if mode not in SSL_MODES:
        raise UrlError(f"sslmode is one of {', '.join(SSL_MODES)}")
    for name in FILES:
        if name in options and not Path(options[name]).is_file():
            raise UrlError(f"{name} names no file")
    return url.set(query=options)


@dataclass(frozen=True)
class RedisNodes:
    """Some nodes of a cluster, and the redis-py options for connecting to all of its nodes."""

    addresses: tuple[Address, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.addresses)


def redis_nodes(text: str) -> RedisNodes:
    """Parses `redis://user:password@host:port`, or `rediss://` for TLS; several URLs separated by commas."""
    nodes = [_redis_node(part.strip()) for part in text.split(",") if part.strip()]
    if any(node.options != nodes[0].options for node in nodes):
        raise UrlError("all nodes have the same scheme, user, password and options")
    return RedisNodes(tuple(node.addresses[0] for node in nodes), nodes[0].options if nodes else {})


def _redis_node(text: str) -> RedisNodes:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, 6379 if parts.port is None else parts.port
    except ValueError as error:
        raise UrlError("its port is invalid") from error
    if parts.scheme not in ("redis", "rediss") or not host or parts.fragment:
        raise UrlError("it cannot be read")
    if port == 0:
        raise UrlError("its port is invalid")
    if parts.path not in ("", "/", "/0"):
        raise UrlError("a cluster has database 0 only")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    allowed = REDIS_OPTIONS if parts.scheme == "rediss" else frozenset[str]()
    if unknown := query.keys() - allowed:
        raise UrlError(f"unknown option {min(unknown)}")
    return RedisNodes(((host, port),), _redis_options(parts.scheme, parts.username, parts.password, query))


def _redis_options(scheme: str, user: str | None, password: str | None, query: dict[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = dict(query)
    if query.get("ssl_cert_reqs", "required") not in CERT_REQUIREMENTS:
        raise UrlError(f"ssl_cert_reqs is one of {', '.join(CERT_REQUIREMENTS)}")
    if "ssl_check_hostname" in query:
        if query["ssl_check_hostname"] not in ("true", "false"):
            raise UrlError("ssl_check_hostname is true or false")
        options["ssl_check_hostname"] = query["ssl_check_hostname"] == "true"
    elif query.get("ssl_cert_reqs") == "none":
        # an unverified certificate has no host name to check
        options["ssl_check_hostname"] = False
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if name in query and not Path(query[name]).is_file():
            raise UrlError(f"{name} names no file")
    if scheme == "rediss":
        options["ssl"] = True
    if user:
        options["username"] = unquote(user)
    if password:
        options["password"] = unquote(password)
    return options
