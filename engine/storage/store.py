"""Opens a store by its URL.

``clickhouse://[user[:password]@]host[:port]/database`` is a server, ``chdb://DIRECTORY`` the same engine
within this process, ``parquet://DIRECTORY`` files that polars reads. All speak SQL and have the tables of
:mod:`engine.storage.schema`.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from engine.core.errors import StoreError
from engine.storage.base import DATABASE, Store

ENVIRONMENT = "RINGBOOK_STORE"
_FORMS = "a store is clickhouse://HOST/DATABASE, chdb://DIRECTORY or parquet://DIRECTORY"


def default_url(environ: Mapping[str, str] | None = None) -> str:
    """The store that is meant where none is named: ``$RINGBOOK_STORE``, else one of the user's own.

    Args:
        environ: The environment; ``os.environ`` by default.
    """
    environ = os.environ if environ is None else environ
    if url := environ.get(ENVIRONMENT):
        return url
    home = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    scheme = "chdb" if importlib.util.find_spec("chdb") else "parquet"
    return f"{scheme}://{home}/ringbook/{scheme}"


def check_url(url: str) -> None:
    """Checks what can be known of a store without opening it.

    Args:
        url: As for :func:`open_store`.

    Raises:
        StoreError: It is none, carries a password, or its engine is not installed.
    """
    split = urlsplit(url or default_url())
    if split.scheme not in ("clickhouse", "chdb", "parquet"):
        raise StoreError(f"{url}: {_FORMS}")
    if split.password is not None:
        raise StoreError("a password does not belong into a configuration: use ?password_file=FILE")
    if split.scheme == "chdb" and not importlib.util.find_spec("chdb"):
        raise StoreError("an embedded store needs the extra: pip install 'ringbook[embedded]'")
    if split.scheme == "clickhouse" and not importlib.util.find_spec("pandas"):
        raise StoreError("a ClickHouse server needs the extra: pip install 'ringbook[clickhouse]'")


def open_store(url: str = "", *, create: bool = True, hold: bool = False, ttl_days: int = 0) -> Store:
    """Opens a store.

    Args:
        url: See the module; :func:`default_url` by default.
        create: Whether missing tables are made. Without, a store that is not there is an error.
        hold: Whether an embedded store stays open between two statements, until :meth:`Store.idle` finds
            that another process waits for it. Without, it is given back after each statement.
        ttl_days: As for :meth:`Store.create`.

    Raises:
        StoreUnavailable: It does not answer.
        StoreError: The URL is none, its engine is not installed, or its tables are another program's.
    """
    url = url or default_url()
    split = urlsplit(url)
    try:
        options = dict(parse_qsl(split.query, strict_parsing=bool(split.query)))
    except ValueError:
        raise StoreError(f"{url}: cannot read what is behind the question mark") from None
    store: Store
    if split.scheme == "clickhouse":
        from engine.storage.clickhouse import ServerStore

        try:
            port = split.port or 9000
        except ValueError:
            raise StoreError(f"{split.hostname}: the port is no number up to 65535") from None
        store = ServerStore(
            split.hostname or "127.0.0.1",
            port,
            database=split.path.strip("/") or DATABASE,
            user=unquote(split.username or "default"),
            password=unquote(split.password or ""),
            options=options,
        )
    elif split.scheme in ("chdb", "parquet"):
        path = Path(unquote(split.netloc + split.path)).expanduser().absolute()
        if split.netloc + split.path == "":
            raise StoreError(f"{url}: names no directory")
        if not create and not path.is_dir():
            raise StoreError(f"{path}: no store is there")
        if options:
            raise StoreError(f"{url}: unknown option {next(iter(options))!r}")
        if split.scheme == "chdb":
            from engine.storage.embedded import EmbeddedStore

            store = EmbeddedStore(path, hold=hold)
        else:
            from engine.storage.files import ParquetStore

            store = ParquetStore(path)
    else:
        raise StoreError(f"{url}: {_FORMS}")
    try:
        if create:
            store.create(ttl_days=ttl_days)
    except BaseException:
        store.close()
        raise
    return store
