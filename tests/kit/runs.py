"""A run of everything at once, for journals and replays."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated, Any

from engine.backtest.config import StrategyConfig
from engine.core.types import DEPTH_EVENT, TRADE_EVENT, OrdType, Status, TimeInForce
from engine.journal.journaller import Journaller
from engine.journal.reader import JournalReader
from engine.journal.segments import Sizes
from engine.journal.snapshots import Snapshot, adopt_snapshot
from engine.journal.wal import Journal
from engine.runtime.images import write_draft
from engine.runtime.records import FeedState
from engine.runtime.recovery import Replay, beginning, private_loop, quiet_log, run_directory
from engine.runtime.returning import open_journal
from engine.runtime.rundir import RunDir, RunState
from engine.strategy.base import Strategy
from engine.strategy.params import Range
from tests.kit.loops import Loop, rows

MS = 1_000_000
RUN_ID = "ab" * 16


class Trader(Strategy):
    """Quotes, takes, listens, and has a timer: everything that a journal must bring back."""

    qty: Annotated[float, Range(ge=0.001)] = 0.01
    skip: int = 3

    def on_start(self, ctx):
        self.n = 0
        ctx.set_timer(7 * MS)

    def on_book(self, ctx, book):
        self.n += 1
        if book.best_bid_tick is None:
            return
        if self.n % self.skip == 0 and len(ctx.orders()) < 5:
            ctx.buy(book.best_bid, self.qty, book.symbol, post_only=True)
        if self.n % 11 == 0:
            ctx.submit(book.symbol, "sell", book.best_bid, self.qty, OrdType.LIMIT, TimeInForce.IOC)

    def on_timer(self, ctx, now):
        for order in ctx.orders()[:1]:
            if order.req == Status.NONE:
                ctx.cancel(order.order_id)

    def on_signal(self, ctx, signal):
        self.qty = round(0.01 * (1 + abs(signal.value) % 3), 3)
        ctx.log(f"{signal.name} {signal.value}")


class Chatty(Trader):
    """Logs more than is kept."""

    def on_book(self, ctx, book):
        super().on_book(ctx, book)
        for line in range(40):
            ctx.log(f"{book.best_bid} {line}")


class Other(Trader):
    """Does something else than what was journalled."""

    skip: int = 2


def trader(cls: str = "Trader", file: str = __file__) -> StrategyConfig:
    """The configuration of the strategy of a file, :class:`Trader` by default."""
    return StrategyConfig(id="t", cls=f"{file}:{cls}", params={})


def market(rng, n, start):
    entries = [(start, DEPTH_EVENT, "buy", 99.9, 5.0), (start, DEPTH_EVENT, "sell", 100.1, 5.0)]
    ts = start
    for _ in range(n):
        ts += rng.randrange(MS)
        side = rng.choice(("buy", "sell"))
        away = rng.randrange(1, 6) / 10
        px = round(100.0 - away if side == "buy" else 100.0 + away, 1)
        kind = TRADE_EVENT if rng.random() < 0.3 else DEPTH_EVENT
        entries.append((ts, kind, side, px, rng.choice((0.0, 0.5, 1.0, 4.0)) or 0.1 * (kind == TRADE_EVENT)))
    return rows(*entries), ts


class Session:
    """A run of market data, orders, commands and signals at random.

    Args:
        loop: What takes them in.
        seed: Of the draws.
    """

    def __init__(self, loop, seed):
        self.loop, self.rng = loop, random.Random(seed)
        self.ts, self.client_order_id = 1_000_000_000, 0
        loop.command("register", strategy_id="ext", symbols=[], params={})

    def go(self, rounds=40):
        """Goes on for a number of rounds; not all that was sent need have been taken in."""
        rng, loop = self.rng, self.loop
        for _ in range(rounds):
            what = rng.randrange(8)
            if what < 3:
                self.feed()
            elif what == 3:
                for _ in range(rng.randrange(1, 4)):
                    self.client_order_id += 1
                    px, qty = rng.choice((995, 999, 1001, 1005)), rng.randrange(0, 40)
                    terms = {"side": rng.choice((1, -1)), "price_tick": px, "qty": qty}
                    loop.order(Status.NEW, self.client_order_id, strategy=1, **terms)
            elif what == 4 and self.client_order_id:
                loop.order(Status.CANCELED, rng.randrange(1, self.client_order_id + 1), strategy=1)
            elif what == 5:
                name = rng.choice(("pause", "resume", "cancel_orders", "resync", "nonsense"))
                loop.command(name, strategy_id=rng.choice(("", "t", "ext", "nobody")), symbol="")
            elif what == 6:
                loop.command("update_params", strategy_id="t", params={"qty": rng.choice((0.02, -1.0, "x"))})
            else:
                loop.signal("alpha" * rng.randrange(1, 90), rng.uniform(-5, 5))
            if rng.random() < 0.7:
                loop.step(rng.randrange(1, 3))

    def feed(self):
        """Some market data."""
        events, self.ts = market(self.rng, self.rng.randrange(1, 60), self.ts + MS)
        self.loop.feed(events)

    def end(self):
        """The feed ends, what is on its way arrives, and the engine stops."""
        self.loop.feed_status(FeedState.ENDED)
        self.loop.step(5)
        self.loop.engine.stop()


class MarketSession(Session):
    """The same on a market within, which needs the time alone."""

    def __init__(self, loop, seed):
        super().__init__(loop, seed)
        self.ts = loop.config.feed.opens

    def feed(self):
        """Some time."""
        self.ts += self.rng.randrange(1, self.rng.choice((4, 40, 100)) * MS)
        self.loop.feed_status(FeedState.RUNNING, self.ts)


def make_loop(strategy: StrategyConfig | None = None, **more: Any) -> Loop:
    """A loop with one strategy, that external traders may join.

    Args:
        strategy: :class:`Trader` by default.
        **more: What else the loop is made of.
    """
    return Loop(strategy or trader(), external={"enabled": True}, slots={"orders_out": 1 << 16}, **more)


def running(folder: Path, run_id: str) -> RunDir:
    """The directory of a run that has begun.

    Args:
        folder: Where it is made.
        run_id: The run's, hex.
    """
    run = RunDir(folder / "run")
    run.make()
    run.journal_buffer = str(folder / "buffer")
    nothing = dict.fromkeys(("endpoint", "config", "config_hash"), "")
    run.write_state(
        RunState(name="t", mode="PAPER", state="running", pid=1, started=0, run_id=run_id, **nothing)
    )
    return run


SIZES = Sizes(segment=1 << 19, batch=1 << 18)
SMALL = Sizes(segment=36 << 12, batch=1 << 18)
"""Just large enough for the largest record: a run has several."""


def journaled(
    folder: Path, seed: int, loop: Loop | None = None, rounds: int = 60, sizes: Sizes = SIZES
) -> Path:
    """A whole run in a journal.

    Args:
        folder: Where it is made.
        seed: Of the draws.
        loop: What takes it in.
        rounds: How long it is.
        sizes: Of the segments.

    Returns:
        The journal's directory.
    """
    run, loop = running(folder, RUN_ID), loop or make_loop()
    loop.config.journal.dir, loop.config.journal.buffer_mb = str(folder / "journals"), 1
    open_journal(lambda: loop.engine, loop.config, run, quiet_log())
    session = (MarketSession if loop.config.feed.kind == "market" else Session)(loop, seed)
    directory = run_directory(loop.config, bytes.fromhex(RUN_ID))
    with Journaller(Journal.attach(run.journal_buffer), directory, sizes=sizes) as journaller:
        for _ in range(rounds):
            session.go(1)
            # As the engine does now and then by the clock on the wall.
            loop.engine.flush()
            journaller.drain()
            journaller.step()
        session.end()
        journaller.drain()
    return directory


def replay_of(directory: Path, after: int = 0, limit: int | None = None) -> Replay:
    """A replay of a journal that has not begun.

    Args:
        directory: The journal's.
        after: The last record that is passed over.
        limit: The last that is read.
    """
    begun = beginning(directory)
    loop = private_loop(begun.config, begun.switches, quiet_log())
    loop.version = begun.version
    reader = JournalReader(directory, after=after)
    if limit is not None:
        reader.limit = limit
    return Replay(loop, reader)


def snapshot_at(directory: Path, seq: int) -> Snapshot:
    """Makes a snapshot of a journaled run.

    Args:
        directory: The journal's.
        seq: The last record that it includes.
    """
    replay = replay_of(directory, limit=seq)
    replay.run()
    assert replay.reached().seq == seq
    draft = write_draft(directory, replay, beginning(directory))
    return adopt_snapshot(draft, lambda found: None)
