"""What only reads is told from what changes a store."""

from __future__ import annotations

import pytest

from engine.storage.statements import only_reads


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "  select count() from fills ; ",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "-- what there is\nSHOW TABLES",
        "/* a; b */ DESCRIBE fills",
        "EXPLAIN SELECT 1",
        "EXISTS TABLE fills",
        "SELECT * FROM fills WHERE reason = 'x; insert into y'",
        "SELECT 'it''s', `drop`, \"a;b\" FROM fills",
        "SELECT '\\'; DROP TABLE fills'",
    ],
)
def test_what_reads(sql):
    assert only_reads(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "DROP TABLE fills",
        "-- SELECT\nDROP TABLE fills",
        "/* SELECT */ TRUNCATE TABLE fills",
        "SELECT 1; DROP TABLE fills",
        "SELECT ';'; DROP TABLE fills",
        "INSERT INTO fills SELECT * FROM fills",
        "WITH a AS (SELECT 1) INSERT INTO fills SELECT * FROM a",
        "SELECT * FROM fills INTO OUTFILE 'x'",
        "OPTIMIZE TABLE fills FINAL",
        "ALTER TABLE fills DELETE WHERE 1",
        "SELECTED",
    ],
)
def test_what_does_not(sql):
    assert not only_reads(sql)
