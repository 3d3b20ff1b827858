"""What both engines that speak ClickHouse's SQL have alike: how tables are made, and which SQL only reads."""

from __future__ import annotations

import re

from engine.core.errors import StoreError
from engine.storage.base import Store, quote
from engine.storage.schema import (
    TABLES,
    VIEWS,
    add_column,
    change_ttl,
    create_table,
    create_view,
)

VIEWS_VERSION = 1
"""Counts up when a view changes: those of an earlier Ringbook are then made anew."""


def make_tables(store: Store, ttl_days: int) -> None:
    """Makes what is missing, see :meth:`Store.create`.

    Args:
        store: An engine of ClickHouse.
        ttl_days: As there.

    Raises:
        StoreError: As there.
    """
    database = store.database
    store.query(f"CREATE DATABASE IF NOT EXISTS {database}")
    found: dict[str, dict[str, str]] = {}
    listed = store.query(f"SELECT table, name, type FROM system.columns WHERE database = {quote(database)}")
    for table, name, kind in listed.rows():
        found.setdefault(table, {})[name] = kind
    changed = False
    for table in TABLES.values():
        there = found.get(table.name)
        if there is None:
            store.query(create_table(table, store.dialect, database, ttl_days=ttl_days))
            continue
        for column in table.columns:
            wanted = store.dialect.types[column.kind]
            if column.name not in there:
                store.query(add_column(table, column, store.dialect, database))
                changed = True
            elif _plain(there[column.name]) != _plain(wanted):
                raise StoreError(
                    f"{store.url}: {table.name}.{column.name} is {there[column.name]}, not {wanted}: "
                    "another program's table, or a store that was made on a much older server"
                )
        if ttl_days and (statement := change_ttl(table, store.dialect, database, ttl_days)) is not None:
            store.query(statement)
    _make_views(store, changed, "views_version" in found)


def _make_views(store: Store, changed: bool, versioned: bool) -> None:
    database = store.database
    engine = "MergeTree ORDER BY version"
    known = 0
    if versioned:
        known = int(store.query(f"SELECT max(version) FROM {database}.views_version").scalar())
    else:
        store.query(f"CREATE TABLE IF NOT EXISTS {database}.views_version (version UInt32) ENGINE = {engine}")
    if changed or known < VIEWS_VERSION:
        for name in VIEWS:
            store.query(f"DROP TABLE IF EXISTS {database}.{name}")
    for name in VIEWS:
        store.query(create_view(name, database))
    if known < VIEWS_VERSION:
        store.query(f"INSERT INTO {database}.views_version SELECT toUInt32({VIEWS_VERSION})")


def _plain(kind: str) -> str:
    return kind.replace(" ", "")


_QUIET = re.compile(r"'(?:\\.|''|[^'\\])*'|\"[^\"]*\"|`[^`]*`|--[^\n]*|/\*.*?\*/", re.DOTALL)
_READS = re.compile(r"[\s(]*(select|with|show|describe|desc|explain|exists)\b", re.IGNORECASE)
_CHANGES = re.compile(r"\binsert\s+into\b|\binto\s+outfile\b", re.IGNORECASE)


def only_reads(sql: str) -> bool:
    """Whether SQL is one statement that changes nothing: a guard against slips, not against malice.

    Args:
        sql: What somebody has typed.
    """
    # What is quoted or remarked means nothing here.
    bare = _QUIET.sub(" x ", sql) if _QUIET.search(sql) else sql
    bare = re.sub(r"^(\s*x\s+)+", "", bare).strip().rstrip(";")
    return bool(_READS.match(bare)) and ";" not in bare and not _CHANGES.search(bare)
