"""The journal's database file: its tables, and opening it so that what is committed survives a crash and a power cut.

WAL with synchronous=FULL: each commit is one fsync of the log, and others may read while the trader runs. A file that
isn't a whole journal of a known version is refused; it is never replaced by a new one.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from mlflow_ppo_flavor.errors import JournalError

NAME = "journal.db"
VERSION = 2
APPLICATION_ID = 0x50504F4A  # "PPOJ": what file(1) and we know a journal by
# What version 2 has more than 1: the registry's newest verdict on each reference, as the trader saw it.
_VERDICTS = "CREATE TABLE verdicts (reference TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;"
_TABLES = f"""
CREATE TABLE identity (trader_id TEXT NOT NULL) STRICT;
CREATE TABLE accounts (symbol TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE decisions (
    symbol TEXT NOT NULL, bar_time INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (symbol, bar_time)
) STRICT;
CREATE TABLE orders (
    client_order_id TEXT PRIMARY KEY, symbol TEXT NOT NULL, bar_time INTEGER NOT NULL, is_open INTEGER NOT NULL,
    ticket TEXT NOT NULL, report TEXT, recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
CREATE INDEX open_orders ON orders (symbol) WHERE is_open;
CREATE INDEX orders_by_time ON orders (bar_time);
CREATE TABLE fills (
    number INTEGER PRIMARY KEY, symbol TEXT NOT NULL,
    client_order_id TEXT REFERENCES orders (client_order_id), body TEXT NOT NULL
) STRICT;
CREATE INDEX fills_by_symbol ON fills (symbol);
CREATE TABLE conduct (
    only INTEGER PRIMARY KEY CHECK (only = 1), state TEXT NOT NULL CHECK (state IN ('ACTIVE', 'REDUCING', 'HALTED')),
    reason TEXT NOT NULL, since TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
CREATE TABLE days (day TEXT PRIMARY KEY, equity REAL NOT NULL) STRICT;
CREATE TABLE events (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    kind TEXT NOT NULL, symbol TEXT, reason TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_kind ON events (kind);
{_VERDICTS}
"""


def open_database(state_dir: Path, trader_id: str) -> sqlite3.Connection:
    """The journal's database of a state directory, made if there is none yet, brought to this version if it is older.

    JournalError for a file that is no journal, is corrupted, has another version, or belongs to another trader.
    """
    path = state_dir / NAME
    if not path.exists():
        _create(path, trader_id)
    if not path.is_file() or not path.stat().st_size:
        raise _unusable(path, "an empty file" if path.is_file() else "what is no file")
    database = sqlite3.connect(path, isolation_level=None)
    try:
        _verify(database, path, trader_id)
        _settle_durability(database)
        _upgrade(database)
    except sqlite3.DatabaseError as error:
        database.close()
        raise _unusable(path, f"what SQLite can't read ({error})") from error
    except JournalError:
        database.close()
        raise
    return database


def _create(path: Path, trader_id: str) -> None:
    """Make the file beside its place and move it there whole: one that is there was once a journal."""
    log = path.with_name(f"{NAME}-wal")
    if log.exists():
        raise _unusable(path, f"none, but its log {log.name}")
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with closing(sqlite3.connect(draft, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = EXTRA")
        database.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION};")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute("INSERT INTO identity VALUES (?)", (trader_id,))
        database.execute("COMMIT")
    draft.rename(path)
    for folder in (path.parent, path.parent.parent):
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _settle_durability(database: sqlite3.Connection) -> None:
    """Commit means on disk; fullfsync is what that takes on macOS."""
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "fullfsync = ON", "foreign_keys = ON"):
        database.execute(f"PRAGMA {pragma}")


def _verify(database: sqlite3.Connection, path: Path, trader_id: str) -> None:
    """Refuse whatever isn't this trader's journal, whole and of this version."""
    kind, version = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if kind != APPLICATION_ID:
        raise _unusable(path, "another program's database")
    if not 1 <= version <= VERSION:
        remedy = "run the trader's version that wrote it, or give another --state-dir"
        raise JournalError(f"{path}: found version {version}, expected {VERSION}: {remedy}")
    faults = [row[0] for row in database.execute("PRAGMA integrity_check(3)")]
    if faults != ["ok"]:
        raise _unusable(path, f"a corrupted journal ({'; '.join(faults)})")
    owners = [row[0] for row in database.execute("SELECT trader_id FROM identity")]
    if owners != [trader_id]:
        found = f"the journal of trader {', '.join(map(repr, owners)) or 'nobody'}"
        remedy = "give that --trader-id, or another --state-dir"
        raise JournalError(f"{path}: found {found}, expected {trader_id!r}: {remedy}")


def _upgrade(database: sqlite3.Connection) -> None:
    """Bring an older journal to this version, whole or not at all."""
    if database.execute("PRAGMA user_version").fetchone()[0] == VERSION:
        return
    database.execute("BEGIN IMMEDIATE")
    database.execute(_VERDICTS)
    database.execute(f"PRAGMA user_version = {VERSION}")
    database.execute("COMMIT")


def _unusable(path: Path, found: str) -> JournalError:
    remedy = (
        "restore it from a copy, or move it away and reconcile by hand: it is the only memory of decisions and fills"
    )
    return JournalError(f"{path}: found {found}, expected a trader's journal: {remedy}")
