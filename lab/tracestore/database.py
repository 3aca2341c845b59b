"""The store's SQLite file: its tables, opening it, and setting an unreadable one aside."""

import logging
import sqlite3
from pathlib import Path

log = logging.getLogger("tracestore")

VERSION = 1
MISSING = -1
# suffix of a file that was set aside; only the last one is kept
ASIDE = ".unreadable"

# Traces and logs get increasing ids, so that the oldest have the lowest, and are removed as a range.
# `origins.last_trace` and `last_log` are the newest rows that refer to an origin, which is removed together with them.
_SCHEMA = f"""
CREATE TABLE traces (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    trace_id BLOB NOT NULL UNIQUE,
    received INTEGER NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    root_rank INTEGER NOT NULL,
    root_name TEXT NOT NULL,
    root_service TEXT NOT NULL
);
CREATE INDEX traces_start ON traces (start);
CREATE INDEX traces_duration ON traces (end - start);
CREATE TABLE spans (
    trace INTEGER NOT NULL,
    span_id BLOB NOT NULL,
    parent_id BLOB NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    status INTEGER NOT NULL,
    start INTEGER NOT NULL,
    duration INTEGER NOT NULL,
    service TEXT NOT NULL,
    route TEXT,
    code INTEGER,
    origin INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE UNIQUE INDEX spans_trace ON spans (trace, span_id);
CREATE TABLE logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    received INTEGER NOT NULL,
    time INTEGER NOT NULL,
    trace_id BLOB,
    origin INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX logs_time ON logs (time);
CREATE INDEX logs_trace ON logs (trace_id) WHERE trace_id IS NOT NULL;
CREATE TABLE origins (
    id INTEGER PRIMARY KEY,
    resource BLOB NOT NULL,
    scope BLOB NOT NULL,
    last_trace INTEGER NOT NULL DEFAULT {MISSING},
    last_log INTEGER NOT NULL DEFAULT {MISSING},
    UNIQUE (resource, scope)
);
PRAGMA user_version = {VERSION};
"""


def open_to_write(file: Path) -> sqlite3.Connection:
    """The only connection that writes. A corrupt file, or one of another version, is renamed, and an empty one created.

    Raises `sqlite3.Error` if the file may be valid: it is locked, or the disk is full or not writable.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _open(file)
    except sqlite3.DatabaseError as error:
        if not is_unreadable(error):
            raise
        return replace_unreadable(file, error)


def replace_unreadable(file: Path, why: Exception) -> sqlite3.Connection:
    """Renames a file that cannot be read, and opens an empty one. Raises `sqlite3.Error`."""
    aside = file.with_name(file.name + ASIDE)
    log.warning("%s cannot be read (%s): renamed to %s, and an empty one was created", file, why, aside.name)
    file.replace(aside)
    for part in ("-wal", "-shm"):
        file.with_name(file.name + part).unlink(missing_ok=True)
    return _open(file)


def is_unreadable(error: Exception) -> bool:
    """Whether an error means that a file is corrupt, is not a store, or has another version."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    return isinstance(error, _OtherVersionError) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class _OtherVersionError(sqlite3.DatabaseError):
    """The file was written by another version of the store."""


def open_to_read(file: Path) -> sqlite3.Connection:
    """A connection for reading: it sees the last commit, and does not wait for the writer."""
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)


def _open(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=1)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # commits survive a crash of this process; a power failure may lose the last ones
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {16 << 20}")
        connection.execute("PRAGMA cache_size = -8192")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
        elif version != VERSION:
            raise _OtherVersionError(f"version {version}, and this is {VERSION}")
        connection.execute("SELECT max(id) FROM traces").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
