"""The daemon's configuration: one TOML file, typed, with unknown keys refused.

Sections: ``[engine]``, ``[bridge]``, ``[feed]``, ``[external]``, ``[control]``, ``[risk]``,
``[[instruments]]`` and ``[[strategies]]``; the last three are the backtest's own structs, so a strategy moves
from a backtest to the daemon unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bridge.endpoints import check_endpoint
from bridge.errors import BridgeError
from bridge.keyring import KeyDir
from engine.backtest.config import (
    L3_FIFO,
    AssetConfig,
    StrategyConfig,
    check_assets,
    check_risk,
    check_strategies,
)
from engine.core import settings
from engine.core.errors import ConfigError, NotRunning, StoreError
from engine.feeds.generated import START_TS
from engine.feeds.stored import is_stored
from engine.risk.limits import RiskConfig
from engine.runtime.listen import check_listen
from engine.runtime.rundir import DEFAULT_NAME, RunDir, default_base

MAX_STRATEGIES = 64
"""Strategies that a kernel has room for, external ones included."""

EngineName = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


class EngineSection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The engine process.

    Attributes:
        name: Tells daemons of one user apart; names the run directory.
        mode: PAPER trades against the venue model.
        run_dir: Where runs are kept; empty is ``$RINGBOOK_RUN_DIR``, ``$XDG_RUNTIME_DIR/ringbook`` or
            ``/tmp/ringbook-<uid>``. The run itself is in ``<run_dir>/<name>``.
        log_level: Least level of the log's lines.
        cpu: The CPU that the engine is pinned to; None leaves it to the system.
        max_orders: Live orders there is room for.
        status_interval_ms: Wall time between status and position records.
        depth_interval_us: Least wall time between depth batches of an instrument.
        stop_timeout_s: How long a graceful stop waits for the venue's answers.
        result: The file that an ordered stop writes the session to, for ``ringbook compare``; empty for none.
    """

    name: EngineName = DEFAULT_NAME
    mode: Literal["PAPER"] = "PAPER"
    run_dir: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    cpu: Annotated[int, Meta(ge=0, le=4095)] | None = None
    max_orders: Annotated[int, Meta(ge=1, le=1 << 20)] = 4096
    status_interval_ms: Annotated[int, Meta(ge=10, le=10_000)] = 100
    depth_interval_us: Annotated[int, Meta(ge=0, le=1_000_000)] = 2_000
    stop_timeout_s: Annotated[float, Meta(ge=0.1, le=60)] = 3.0
    result: str = ""


class BridgeSection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The bridge process.

    Attributes:
        endpoint: ``ipc://DIRECTORY`` or ``tcp://HOST:PORT``; empty is ipc in the run directory.
        keys: Directory of the keys that clients must have, made by ``ringbook keys make``. Without it,
            whoever reaches the endpoint may do anything, so it must be ipc or loopback.
        heartbeat_misses: Silent intervals of 100 ms after which a client counts as gone.
        grace_s: How long after a restart of the bridge its traders have to come back.
        max_memory_mb: Memory at which the bridge is ended and started anew, because somebody floods it.
        lanes: Whether traders over ipc may use shared memory in place of sockets.
    """

    endpoint: str = ""
    keys: str = ""
    heartbeat_misses: Annotated[int, Meta(ge=1, le=6000)] = 3
    grace_s: Annotated[float, Meta(ge=0, le=600)] = 1.0
    max_memory_mb: Annotated[int, Meta(ge=256, le=1 << 20)] = 1024
    lanes: bool = True


class FeedSection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The feed process.

    Attributes:
        kind: ``market`` (a matching engine with agents and all strategies on it, in the engine itself),
            ``simulated`` (a seeded stream, orders are paper) or ``replay`` (the instruments' ``data``).
        speed: 1 is real time, N is N times as fast, 0 is as fast as the engine takes it.
        loop: How often a replay runs; 0 is for ever. Each instrument is repeated by its own length, so
            recordings of several instruments that differ in length drift apart.
        wait_for_client: Whether the first event waits until an external trader is there.
        seed: Of the simulated market.
        rate: How many times as busy as usual the simulated market is.
        start_px: Price at which the simulated market opens.
        seconds: Market seconds after which the simulated market ends; 0 never.
        law: File of the law that a ``market`` is made by; empty is the packaged one.
        agents: Whether a ``market`` has agents; without, strategies trade with each other alone.
        opens: When a ``market`` opens, nanoseconds since the epoch.
    """

    kind: Literal["market", "simulated", "replay"] = "market"
    speed: Annotated[float, Meta(ge=0, le=1e9)] = 1.0
    loop: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    wait_for_client: bool = False
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    rate: Annotated[float, Meta(ge=0.001, le=1000)] = 1.0
    start_px: Annotated[float, Meta(gt=0, le=1e12)] = 60_000.0
    seconds: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    law: str = ""
    agents: bool = True
    opens: Annotated[int, Meta(ge=0, le=1 << 61)] = START_TS


class ExternalSection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Traders that come in over the bridge.

    Attributes:
        enabled: Whether they may register at all.
        limits: Risk limits that each of them gets, as in ``[[strategies]]``.
    """

    enabled: bool = True
    limits: dict[str, Any] = {}


class ControlSection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What operators may do.

    Attributes:
        rearm_token_file: A file whose content whoever re-arms a switch must know; empty asks for no more
            than the switch's id. Only the file's owner may read it. Throwing a switch never needs it.
        watch: Whether the configuration file is watched, and what may change live does as it is edited.
    """

    rearm_token_file: str = ""
    watch: bool = True


class JournalSection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The journal of the engine's inputs, from which a killed engine is brought back.

    Attributes:
        dir: Where journals are kept, each run's in a directory of its own; empty for none.
        buffer_mb: Size of the buffer in shared memory, a power of two: what the disk may lag behind.
        segment_mb: Size of the files.
        acknowledge: When clients are told what became of their orders and commands: once it is ``accepted``
            (it survives a killed process), or ``durable`` (it survives a loss of power).
        standby: Whether a second engine follows the journal, ready to take over from a killed one.
        snapshot_records: After how many records that standby writes the run's state down, from where a
            restart goes on; 0 never.
        keep_mb: Beyond what size of a run's journal its old segments are removed, as far as the older of its
            two snapshots, and the recorder, do not need them; 0 never.
    """

    dir: str = ""
    buffer_mb: Annotated[int, Meta(ge=1, le=1 << 14)] = 64
    segment_mb: Annotated[int, Meta(ge=1, le=1 << 14)] = 64
    acknowledge: Literal["accepted", "durable"] = "accepted"
    standby: bool = True
    snapshot_records: Annotated[int, Meta(ge=0, le=1 << 53)] = 2_000_000
    keep_mb: Annotated[int, Meta(ge=0, le=1 << 30)] = 0


class RecorderSection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The recorder, which brings what is in the journal to a store.

    Attributes:
        enabled: Whether there is one; it needs a journal.
        store: Its URL, see docs/storage.md; by default ``$RINGBOOK_STORE``, else one of the user's own.
        spool: Where it keeps what the store has not taken; by default a folder beside the journals.
        spool_mb: Beyond how much market data are left out until the store has taken some.
        flush_ms: How often it looks for more.
        market_data: Whether market data are recorded.
        position_ms: Engine time between two looks at positions.
        ttl_days: Days of event time after which the store removes rows; 0 never.
    """

    enabled: bool = False
    store: str = ""
    spool: str = ""
    spool_mb: Annotated[int, Meta(ge=1, le=1 << 24)] = 8192
    flush_ms: Annotated[int, Meta(ge=10, le=60_000)] = 1000
    market_data: bool = True
    position_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 1000
    ttl_days: Annotated[int, Meta(ge=0, le=100_000)] = 0


class MetricsSection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``[metrics]``: what monitors see, over HTTP.

    Attributes:
        listen: ``HOST:PORT`` of ``/metrics`` (Prometheus) and ``/health``; empty for neither.
        allow_remote: Whether it may be other than loopback; anybody who reaches it can read.
    """

    listen: str = ""
    allow_remote: bool = False


class DaemonConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A whole daemon."""

    engine: EngineSection = msgspec.field(default_factory=EngineSection)
    bridge: BridgeSection = msgspec.field(default_factory=BridgeSection)
    feed: FeedSection = msgspec.field(default_factory=FeedSection)
    external: ExternalSection = msgspec.field(default_factory=ExternalSection)
    control: ControlSection = msgspec.field(default_factory=ControlSection)
    risk: RiskConfig = RiskConfig()
    journal: JournalSection = msgspec.field(default_factory=JournalSection)
    recorder: RecorderSection = msgspec.field(default_factory=RecorderSection)
    metrics: MetricsSection = msgspec.field(default_factory=MetricsSection)
    instruments: Annotated[list[AssetConfig], Meta(min_length=1, max_length=4096)]
    strategies: Annotated[list[StrategyConfig], Meta(max_length=MAX_STRATEGIES)] = []

    def run_dir(self, environ: Mapping[str, str] | None = None) -> RunDir:
        """The directory of this run."""
        base = Path(self.engine.run_dir).expanduser() if self.engine.run_dir else default_base(environ)
        return RunDir(base / self.engine.name)

    def endpoint(self, environ: Mapping[str, str] | None = None) -> str:
        """The bridge's base endpoint."""
        return self.bridge.endpoint or f"ipc://{self.run_dir(environ).path}"


def load(path: str | Path, environ: Mapping[str, str] | None = None) -> DaemonConfig:
    """Reads and checks a daemon's configuration.

    Args:
        path: The file.
        environ: The environment with its ``RINGBOOK__SECTION__KEY`` overrides; ``os.environ`` by default.

    Raises:
        ConfigError: The message names the file and the path of the key.
    """
    config = settings.load(path, DaemonConfig, environ)
    check(config, str(path))
    return config


def of_run(run: RunDir) -> DaemonConfig:
    """The configuration of a run as its supervisor loaded it, environment included.

    Raises:
        NotRunning: The directory has none.
    """
    try:
        return msgspec.json.decode(run.config_file.read_bytes(), type=DaemonConfig)
    except FileNotFoundError:
        raise NotRunning(f"{run.path} is no run directory: {run.config_file.name} is missing") from None


def check(config: DaemonConfig, source: str = "configuration") -> None:
    """Checks what single fields cannot say.

    Args:
        config: What was read.
        source: The file, for messages.

    Raises:
        ConfigError: As :func:`load`.
    """
    check_assets(config.instruments, source, "instruments")
    for index, instrument in enumerate(config.instruments):
        if instrument.queue_model == L3_FIFO:
            where = f"{source}: $.instruments[{index}].queue_model"
            raise ConfigError(f"{where}: {L3_FIFO} is for backtests: live feeds are market by price")
    if config.journal.buffer_mb & (config.journal.buffer_mb - 1):
        raise ConfigError(f"{source}: $.journal.buffer_mb: {config.journal.buffer_mb} is no power of two")
    if config.journal.acknowledge == "durable" and not config.journal.dir:
        raise ConfigError(f"{source}: $.journal.acknowledge: nothing is durable without journal.dir")
    if config.journal.keep_mb and not (config.journal.standby and config.journal.snapshot_records):
        why = "without snapshots a restart needs all of a journal: set standby and snapshot_records"
        raise ConfigError(f"{source}: $.journal.keep_mb: {why}")
    _check_recorder(config, source)
    check_strategies(config.strategies, [asset.symbol for asset in config.instruments], source)
    check_risk(config.risk, [asset.symbol for asset in config.instruments], source)
    try:
        check_endpoint(config.endpoint(), bool(config.bridge.keys))
    except BridgeError as error:
        raise ConfigError(f"{source}: $.bridge.endpoint: {error}") from None
    try:
        if config.bridge.keys:
            KeyDir(config.bridge.keys).server()
    except BridgeError as error:
        text = f"{source}: $.bridge.keys: {error} ('ringbook keys make' makes keys)"
        raise ConfigError(text) from None
    _check_token(config.control.rearm_token_file, source)
    check_listen(config.metrics.listen, config.metrics.allow_remote, source)
    for index, asset in enumerate(config.instruments):
        where = f"{source}: $.instruments[{index}]"
        # These belong to the times of one recording; a daemon's clock goes on beside it.
        if asset.latency_model != "constant_order_latency":
            raise ConfigError(f"{where}.latency_model: {asset.latency_model} is for backtests only")
        for name in ("latency_offset", "funding", "funding_data"):
            if getattr(asset, name):
                raise ConfigError(f"{where}.{name}: is for backtests only")
        if config.feed.kind == "market" and ":" in asset.fee_model:
            raise ConfigError(f"{where}.fee_model: a market takes built-in fees only")
        where += ".data"
        if config.feed.kind != "replay" and asset.data:
            raise ConfigError(f"{where}: a simulated feed reads no recordings; set feed.kind to 'replay'")
        if config.feed.kind == "replay" and not asset.data:
            raise ConfigError(f"{where}: a replay needs at least one recording")
        for file in asset.data:
            if not is_stored(file) and not Path(file).expanduser().is_file():
                raise ConfigError(f"{where}: {file}: no such file")


def _check_recorder(config: DaemonConfig, source: str) -> None:
    if not config.recorder.enabled:
        return
    if not config.journal.dir:
        raise ConfigError(f"{source}: $.recorder.enabled: a recorder reads the journal: set journal.dir")
    from engine.storage.store import check_url

    try:
        check_url(config.recorder.store)
    except StoreError as error:
        raise ConfigError(f"{source}: $.recorder.store: {error}") from None


def _check_token(name: str, source: str) -> None:
    """Refuses a token file that is missing, empty or readable by others."""
    if not name:
        return
    where = f"{source}: $.control.rearm_token_file: {name}"
    path = Path(name).expanduser()
    try:
        mode = path.stat().st_mode
        empty = not path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: {getattr(error, 'strerror', None) or error}") from None
    if mode & 0o077:
        raise ConfigError(f"{where}: others may read it (mode {mode & 0o777:o}): chmod 600 it")
    if empty:
        raise ConfigError(f"{where}: is empty")
