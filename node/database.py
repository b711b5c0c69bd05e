"""The database under the journal: SQLite in the storage folder, or what an SQLAlchemy URL names."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import Engine, create_engine, event

from node.errors import JournalError
from node.records import tables


def opened(place: Path | str) -> Engine:
    """The database at a path (SQLite) or an SQLAlchemy URL, with the tables that it needs."""
    engine = create_engine(f"sqlite:///{place}" if isinstance(place, Path) else place)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "handle_error", _in_words)
        event.listen(engine, "connect", _durable)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    tables.create_all(engine)
    return engine


def _durable(connection, _record) -> None:
    """Every SQLite connection: nothing committed is lost in a power cut, writers wait for each other, SQLAlchemy begins transactions."""
    connection.isolation_level = None
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {setting}")


def _in_words(context) -> None:
    """What SQLite says of its disk or its lock, as a sentence. Any other error is one of the program, and stays as it is.

    A connection that was opened while the disk took no writes never writes again: it is not used any more, nor are its neighbours.
    """
    if isinstance(context.original_exception, sqlite3.OperationalError):
        code = getattr(context.original_exception, "sqlite_errorcode", 0)  # what Python itself says has none
        context.is_disconnect |= code & 0xFF == sqlite3.SQLITE_READONLY
        raise JournalError(f"The journal cannot be used now: {context.original_exception}. Look at the disk under the storage folder, its "
                           "free space and its permissions; nothing is lost.") from context.original_exception
