"""The tables, defined once, and how each version of the server is told of them.

A column has a kind, not a type: a :class:`Dialect` says which type a kind becomes, and a server that is too
old for one gets the nearest. Every table begins with ``symbol, time, id``, which is what it is ordered by;
``id`` goes up within ``run_id`` (of a capture, within each symbol) and never changes, which is what makes a
repeated insert visible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MONEY_DIGITS = 12
"""Decimal places of money; 26 digits are left before the point."""
DAY_NS = 86_400_000_000_000

WORD, TEXT, TIME, MONEY, MAYBE_MONEY = "word", "text", "time", "money", "maybe_money"
U8, U32, U64, I64, F64 = "u8", "u32", "u64", "i64", "f64"
"""Kinds. A word is a text of which there are few; a time is int64 nanoseconds since the epoch, UTC; money is
a decimal of :data:`MONEY_DIGITS` places, which may be missing where it is ``maybe_money``."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    kind: str
    says: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table; ``columns`` begin with those that all tables have."""

    name: str
    says: str
    columns: tuple[Column, ...]

    @property
    def kinds(self) -> dict[str, str]:
        """Kinds by name of column."""
        return {column.name: column.kind for column in self.columns}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server understands.

    Attributes:
        version: Its year and month.
        types: The type of each kind.
        modern: Whether it knows codecs, skipping indices and TTLs.
        tokens: Whether it recognises a repeated insert by its token.
    """

    version: tuple[int, int]
    types: Mapping[str, str]
    modern: bool
    tokens: bool

    @property
    def has_times(self) -> bool:
        """Whether times have a type of their own; else they are numbers."""
        return self.types[TIME] != "Int64"


_PLAIN = {
    TEXT: "String",
    MONEY: f"Decimal(38, {MONEY_DIGITS})",
    MAYBE_MONEY: f"Nullable(Decimal(38, {MONEY_DIGITS}))",
    U8: "UInt8",
    U32: "UInt32",
    U64: "UInt64",
    I64: "Int64",
    F64: "Float64",
}


def dialect(version: tuple[int, int]) -> Dialect:
    """What a server of some version understands.

    Args:
        version: Year and month, as ``(18, 16)``.
    """
    words = "LowCardinality(String)" if version >= (19, 1) else "String"
    times = "DateTime64(9, 'UTC')" if version >= (20, 4) else "Int64"
    types = _PLAIN | {WORD: words, TIME: times}
    return Dialect(version, types, modern=version >= (20, 4), tokens=version >= (22, 3))


def _table(name: str, says: str, *columns: tuple[str, str, str]) -> Table:
    common = (
        Column("symbol", WORD, "of the instrument; empty where a row belongs to none"),
        Column("time", TIME, "engine time"),
        Column("id", U64, "counts within the run, from 1"),
        Column("run_id", WORD, "of the run, or what it was imported as"),
    )
    return Table(name, says, (*common, *(Column(*column) for column in columns)))


_OWNER = (
    ("strategy", WORD, "whose it is"),
    ("order_id", U64, "the engine's"),
    ("client_order_id", U64, "the owner's own; 0 without one"),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        _table(
            "orders",
            "every change of every order, as its owner learned of it",
            *_OWNER,
            ("side", WORD, "buy or sell"),
            ("order_type", WORD, "limit or market"),
            ("time_in_force", WORD, "gtc, gtx, fok or ioc"),
            ("prev_status", WORD, "before"),
            ("status", WORD, "after"),
            (
                "request",
                WORD,
                "in flight: none, new, canceled or replaced; rejected in an answer",
            ),
            ("reason", WORD, "of the change"),
            ("px", MONEY, "limit price"),
            ("qty", MONEY, "ordered"),
            ("leaves_qty", MONEY, "still open"),
            ("cum_exec_qty", MONEY, "executed so far"),
            ("exec_px", MONEY, "of the last execution; 0 before one"),
            ("exec_qty", MONEY, "of the last execution"),
            ("fee", MONEY, "of the last execution; negative is a rebate"),
            ("is_maker", U8, "of the last execution"),
            ("queue_ahead", F64, "estimated quantity in front; of a denied request, the limit"),
            ("exch_ts", TIME, "when the venue last touched it"),
            ("local_ts", TIME, "when its last request was sent"),
            ("latency_ns", I64, "from the last request to this answer; 0 of what is no answer"),
            (
                "tick_to_trade_ns",
                I64,
                "of a request: from the arrival of the tick that led to it to its sending; 0 where not known",
            ),
        ),
        _table(
            "fills",
            "every execution, as its owner learned of it",
            *_OWNER,
            ("side", WORD, "buy or sell"),
            ("px", MONEY, "price"),
            ("qty", MONEY, "quantity"),
            ("fee", MONEY, "paid; negative is a rebate"),
            ("is_maker", U8, "whether it gave liquidity"),
            ("slippage_bps", F64, "what it was worse than the middle price, in hundredths of a percent"),
            ("reason", WORD, "why it happened"),
            ("mid_price", F64, "when the owner learned of it; NaN without a market"),
            ("value", MONEY, "in the asset's amount: price times quantity times contract size, if linear"),
            ("edge", MAYBE_MONEY, "what it was better than the middle price, in money"),
            ("exch_ts", TIME, "at the venue"),
        ),
        _table(
            "positions",
            "positions, after each step of time in which they changed or their price did",
            ("strategy", WORD, "whose it is"),
            ("position", MONEY, "quantity; negative is short"),
            ("avg_price", F64, "paid for it; NaN when flat"),
            ("mid_price", F64, "NaN without a market"),
            ("realized_pnl", MONEY, "before fees"),
            ("unrealized_pnl", MAYBE_MONEY, "missing without a middle price"),
            ("fee", MONEY, "paid so far"),
            ("balance", MONEY, "hftbacktest's definition"),
            ("equity", MAYBE_MONEY, "after fees; missing without a middle price"),
            ("num_trades", U64, "so far"),
            ("trading_volume", F64, "quantity so far"),
            ("trading_value", F64, "amount so far"),
        ),
        _table(
            "strategy_status",
            "each change of a strategy's state",
            ("strategy", WORD, "whose it is"),
            ("status", WORD, "starting, running, paused, stopping, stopped or error"),
            ("message", TEXT, "why"),
        ),
        _table(
            "params_log",
            "each change of a parameter, a limit or a switch",
            ("strategy", WORD, "whose it is; empty of all"),
            ("version", U64, "of the configuration after it"),
            ("step", U64, "of the engine"),
            ("who", TEXT, "changed it"),
            ("kind", WORD, "params, limits, or the command that was carried out"),
            ("name", WORD, "of the value; empty of a command"),
            ("old", TEXT, "JSON"),
            ("new", TEXT, "JSON"),
            ("message", TEXT, "what was answered"),
        ),
        _table(
            "market_data",
            "market events, hftbacktest's 64 bytes, in the order of their id",
            ("ev", U64, "kind and flags"),
            ("exch_ts", I64, "at the venue, nanoseconds"),
            ("local_ts", I64, "when it was received, nanoseconds"),
            ("px", F64, "price"),
            ("qty", F64, "quantity"),
            ("order_id", U64, "of a feed by order"),
            ("ival", I64, "the venue's"),
            ("fval", F64, "the venue's"),
        ),
        _table(
            "recording_gaps",
            "rows that could not be kept, and why",
            ("table_name", WORD, "which"),
            ("first_id", U64, "first row that is missing"),
            ("last_id", U64, "last row that is missing"),
            ("rows", U64, "how many of this symbol are missing"),
            ("until", TIME, "engine time of the last"),
            ("reason", TEXT, "why"),
        ),
        _table(
            "backtest_runs",
            "backtests, one row each",
            ("name", TEXT, "whatever its owner calls it"),
            ("sweep_id", WORD, "of the sweep it belongs to; empty of none"),
            ("kind", WORD, "backtest, market, paper or live"),
            ("strategies", TEXT, "JSON"),
            ("symbols", TEXT, "JSON"),
            ("config", TEXT, "JSON"),
            ("config_hash", TEXT, "of the configuration"),
            ("git_commit", TEXT, "of the code, with a plus behind it where it was changed"),
            ("seed", U64, "of the configuration"),
            ("packages", TEXT, "versions as JSON"),
            ("metrics", TEXT, "JSON"),
            ("result_hash", TEXT, "of fills, orders and equity"),
            ("first_ts", TIME, "earliest time of the data"),
            ("last_ts", TIME, "latest time of the data"),
            ("events", U64, "rows of data replayed"),
            ("failures", TEXT, "what strategies raised, JSON"),
        ),
        _table(
            "backtest_timeseries",
            "a backtest's samples of each strategy in each instrument, as doubles, for exact metrics",
            ("strategy", WORD, "whose it is"),
            ("mid_price", F64, "NaN without a market"),
            ("position", F64, "quantity"),
            ("balance", F64, "hftbacktest's definition"),
            ("fee", F64, "paid so far"),
            ("funding", F64, "paid so far"),
            ("equity", F64, "after fees"),
            ("num_trades", U64, "so far"),
            ("trading_volume", F64, "quantity so far"),
            ("trading_value", F64, "amount so far"),
        ),
    )
}
"""All tables, by name."""

VIEWS: dict[str, str] = {
    "order_behaviour": """
        SELECT run_id, strategy, symbol,
            countIf(request = 'new' AND status = 'none') AS sent,
            countIf(status = 'new' AND prev_status = 'none') AS accepted,
            countIf(status = 'filled') AS filled,
            countIf(status = 'canceled') AS canceled,
            countIf(status = 'expired') AS expired,
            countIf(status = 'rejected') AS rejected,
            countIf(status = 'denied') AS denied,
            avgIf(latency_ns, latency_ns > 0) AS mean_latency_ns,
            maxIf(latency_ns, latency_ns > 0) AS worst_latency_ns
        FROM {db}orders GROUP BY run_id, strategy, symbol""",
    "slippage": """
        SELECT run_id, strategy, symbol, reason, is_maker,
            count() AS fills,
            sum(toFloat64(qty)) AS total_qty,
            avgIf(slippage_bps, NOT isNaN(slippage_bps)) AS mean_bps,
            sumIf(slippage_bps * toFloat64(value), NOT isNaN(slippage_bps))
                / sumIf(toFloat64(value), NOT isNaN(slippage_bps)) AS weighted_bps,
            maxIf(slippage_bps, NOT isNaN(slippage_bps)) AS worst_bps
        FROM {db}fills GROUP BY run_id, strategy, symbol, reason, is_maker""",
    "pnl_attribution": """
        SELECT run_id, strategy, symbol,
            sum(edge_part) AS spread_pnl,
            sum(gross_part) - sum(edge_part) AS inventory_pnl,
            -sum(fee_part) AS fees,
            sum(gross_part) - sum(fee_part) AS total_pnl
        FROM (
            SELECT run_id, strategy, symbol, sum(toFloat64(assumeNotNull(edge))) AS edge_part,
                toFloat64(0) AS gross_part, sum(toFloat64(fee)) AS fee_part
            FROM {db}fills GROUP BY run_id, strategy, symbol
            UNION ALL
            SELECT run_id, strategy, symbol, toFloat64(0) AS edge_part,
                argMax(toFloat64(realized_pnl) + toFloat64(assumeNotNull(unrealized_pnl)), id) AS gross_part,
                toFloat64(0) AS fee_part
            FROM {db}positions GROUP BY run_id, strategy, symbol
        ) GROUP BY run_id, strategy, symbol""",
}
"""Derived views; their SQL is what all versions understand. ``{db}`` is the database with its point."""

_CODECS = {TIME: "CODEC(Delta, ZSTD(1))", U64: "CODEC(Delta, ZSTD(1))", F64: "CODEC(ZSTD(1))"}


def create_table(table: Table, spoken: Dialect, database: str, *, ttl_days: int = 0) -> str:
    """The statement that makes a table where it is missing.

    Args:
        table: The table.
        spoken: What the server understands.
        database: Where.
        ttl_days: Days of event time after which rows are removed; 0 never. An old server keeps them.
    """
    columns = [_declare(column, spoken) for column in table.columns]
    if spoken.modern:
        columns.append("INDEX by_symbol symbol TYPE bloom_filter(0.01) GRANULARITY 4")
    day = "time" if spoken.has_times else "toDateTime(intDiv(time, 1000000000), 'UTC')"
    settings = {"index_granularity": 8192}
    if spoken.tokens:
        settings["non_replicated_deduplication_window"] = 1000
    parts = [
        f"CREATE TABLE IF NOT EXISTS {database}.{table.name} ({', '.join(columns)})",
        f"ENGINE = MergeTree PARTITION BY toYYYYMMDD({day}) ORDER BY (symbol, time, id)",
    ]
    if ttl_days and spoken.modern:
        parts.append(f"TTL {_expiry(ttl_days)}")
    parts.append("SETTINGS " + ", ".join(f"{name} = {value}" for name, value in settings.items()))
    return " ".join(parts)


def change_ttl(table: Table, spoken: Dialect, database: str, days: int) -> str | None:
    """The statement that gives a table that is there its TTL; None where the server knows none."""
    if not spoken.modern or not days:
        return None
    return f"ALTER TABLE {database}.{table.name} MODIFY TTL {_expiry(days)}"


def _expiry(days: int) -> str:
    return f"toDateTime(time, 'UTC') + INTERVAL {days} DAY"


def _declare(column: Column, spoken: Dialect) -> str:
    codec = f" {_CODECS[column.kind]}" if spoken.modern and column.kind in _CODECS else ""
    return f"{column.name} {spoken.types[column.kind]}{codec}"


def add_column(table: Table, column: Column, spoken: Dialect, database: str) -> str:
    """The statement that gives a table of an earlier Ringbook a column that it lacks."""
    return f"ALTER TABLE {database}.{table.name} ADD COLUMN {_declare(column, spoken)}"


def create_view(name: str, database: str) -> str:
    """The statement that makes a view where it is missing."""
    text = " ".join(VIEWS[name].format(db=f"{database}.").split())
    return f"CREATE VIEW IF NOT EXISTS {database}.{name} AS {text}"
