"""The engine process: the compiled loop and everything about it that needs Python."""

from __future__ import annotations

import logging
import mmap
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from engine.core.errors import ConfigError, DataError, StrategyError
from engine.core.ring import Bell, Ring
from engine.core.settings import convert
from engine.kernel import Kernel
from engine.risk.limits import RiskLimits
from engine.runtime.commands import Commands, strategy_blob
from engine.runtime.config import DaemonConfig
from engine.runtime.feeder import CLIENT_IS_THERE
from engine.runtime.inputs import CONTROL_IN, ORDERS_IN, Mark
from engine.runtime.keeper import Keeper
from engine.runtime.leaving import left_open
from engine.runtime.ledger import Ledger, Ticket
from engine.runtime.loop import Want, catch_sigterm
from engine.runtime.metrics import STEPS_AT, create_page
from engine.runtime.publish import Publisher
from engine.runtime.records import BlobJoiner, Kind, record_dtype
from engine.runtime.repeating import Repeating, is_in_order
from engine.runtime.rundir import RunDir
from engine.runtime.venues import of_config
from engine.strategy import loader

COMMANDS_A_STEP = 32
SETTLE_EVENTS = 100_000
"""Venue events that an ordered stop waits for at most."""
MAX_LOG_TEXT = 8192
KEEPING_S = 0.002
"""How soon it is looked whether the disk has a switch that somebody waits for."""


def make_kernel(config: DaemonConfig, source: str = "configuration") -> Kernel:
    """The kernel of a configuration, with its strategies seated and not yet started.

    Args:
        config: The daemon's.
        source: The file it came from, for messages.

    Raises:
        ConfigError: A strategy cannot be loaded, or a parameter or limit is wrong; file and key are named.
    """
    kernel = Kernel(config.instruments, max_orders=config.engine.max_orders, seed=config.feed.seed)
    try:
        kernel.set_risk(config.risk)
    except ConfigError as error:
        raise ConfigError(f"{source}: $.risk: {error}") from None
    for index, chosen in enumerate(config.strategies):
        where = f"{source}: $.strategies[{index}]"
        limits = convert(chosen.limits, RiskLimits, source=f"{where}.limits")
        try:
            strategy = loader.create(loader.load(chosen.cls), chosen.params)
            kernel.add_strategy(chosen.id, strategy, chosen.symbols or None, limits)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
    kernel.touch()
    return kernel


class EngineLoop(Repeating):
    """The loop with commands, signals, logs, start and stop.

    Args:
        config: The daemon's configuration.
        kernel: The kernel, strategies seated.
        out: The producer side of the outgoing rings.
        feed: Ring of market records.
        orders_in: Ring of order requests and signals.
        control_in: Ring of commands.
        bell: Rung by the producers of these three.
        log: Where strategies' log lines go, besides telemetry.
        ledger: Keeps thrown switches and changes on disk; without one they end with the engine.
    """

    def __init__(
        self,
        config: DaemonConfig,
        kernel: Kernel,
        out: Publisher,
        feed: Ring,
        orders_in: Ring,
        control_in: Ring,
        bell: Bell,
        log: logging.Logger,
        ledger: Ledger | None = None,
    ) -> None:
        self._venue = of_config(config)
        super().__init__(
            kernel,
            self._venue,
            out,
            feed,
            orders_in,
            control_in,
            bell,
            status_interval_ms=config.engine.status_interval_ms,
        )
        self._stop_timeout_s = config.engine.stop_timeout_s
        self._log = log
        self._keeper = Keeper.of_config(config)
        if self._keeper is not None:
            self.record_into(self._keeper.recorder)
        self._control_blobs, self._signal_blobs = BlobJoiner(), BlobJoiner()
        self._ledger = ledger
        self._kept = self._told = kernel.latches()
        self._stopping = False
        self._market_first = False
        self._commands = Commands(
            kernel,
            resync=self._resync,
            stop=self.ask_stop,
            external=config.external.enabled,
            limits=convert(config.external.limits, RiskLimits, source="$.external.limits"),
            on_register=self._registered,
            on_change=self._changed,
            on_log_level=lambda level: log.setLevel(level.upper()),
            version=ledger.version if ledger is not None else 0,
        )
        for slot, name in enumerate(kernel.strategy_names):
            out.set_name(slot, name)

    @classmethod
    def of_run(
        cls, config: DaemonConfig, run: RunDir, log: logging.Logger, *, standby: bool = False
    ) -> EngineLoop:
        """The engine of a daemon's run directory.

        Args:
            config: The daemon's.
            run: The directory.
            log: Where strategies' log lines go.
            standby: Whether another engine is alive: its status page and ledger are left alone.

        Raises:
            ConfigError: As :func:`make_kernel`.
            RingCorrupt: A ring cannot be right.
        """
        bell = Bell.named(run.bell_path("bridge"))
        state = run.read_state()
        kernel = make_kernel(config, state.config if state is not None else str(run.config_file))
        out = Publisher(
            kernel,
            *(
                Ring.attach(run.ring_path(name), bell=bell)
                for name in ("orders_out", "market_out", "telemetry_out", "control_out")
            ),
            depth_interval_us=config.engine.depth_interval_us,
        )
        inputs = (Ring.attach(run.ring_path(name)) for name in ("feed", "orders_in", "control_in"))
        bell = Bell.named(run.bell_path("engine"))
        loop = cls(config, kernel, out, *inputs, bell, log, None if standby else Ledger(run, log))
        if not standby:
            loop.show_on(create_page(run))
        return loop

    def show_on(self, page: mmap.mmap) -> None:
        """Writes status, positions and the times of steps on a run's page from here on."""
        whole = memoryview(page)
        self.out.set_page(whole[:STEPS_AT])
        self.steps.keep_in(whole[STEPS_AT:])

    def discard(self) -> None:
        """Lets go of everything: another loop takes this one's place before it has begun."""
        if self._ledger is not None:
            self._ledger.close()
        self.kernel.release()

    # --- running --------------------------------------------------------------------------------

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Runs until it is told to stop, and stops in good order.

        Args:
            on_ready: Called once the loop takes inputs.

        Raises:
            RingbookError: An input cannot be right, or a capacity was exceeded.
        """
        catch_sigterm()
        # Whoever has heard that it is ready finds its status.
        self.flush()
        if on_ready is not None:
            on_ready()
        while self.turn():
            pass
        self.stop()

    def turn(self, seconds: float = -1.0) -> bool:
        """Runs steps until the interpreter is wanted, and does what is wanted.

        Args:
            seconds: Wall time after which it returns all the same; negative for ever.

        Returns:
            False once it is time to stop.
        """
        if self._unanswered:
            self._answer_kept()
            seconds = KEEPING_S if seconds < 0 else min(seconds, KEEPING_S)
        want = self.run_until_wanted(seconds, skip_control=self._market_first)
        self._market_first = False
        if want == Want.CONTROL:
            self._control()
        elif want == Want.SIGNAL:
            self._signals()
        elif want == Want.TELL:
            self.tell()
        elif want == Want.START:
            self._start()
        elif want == Want.FAULT:
            self._fault()
        return want != Want.STOP and not self._stopping

    def switches_restored(self) -> None:
        """The switches of an earlier run have been thrown, and are kept already."""
        self._kept = self.kernel.latches()

    @property
    def version(self) -> int:
        """Of the last change; set to that of the last before a run, a replay gives each change its own."""
        return self._commands.version

    @version.setter
    def version(self, version: int) -> None:
        self._commands.version = version

    def ask_stop(self) -> None:
        """Makes :meth:`turn` return False."""
        self._stopping = True

    def _start(self) -> None:
        self.new_step()
        ts = self.first_ts()
        if self.take_mark(Mark.START, ts):
            self.apply_start(ts)
        self.check()

    def _control(self) -> None:
        """Applies the waiting commands, all in one step, and answers them."""
        self.new_step()
        for record in self._blobs(CONTROL_IN, COMMANDS_A_STEP):
            answered = self.apply_command(record)
            if answered is None:
                continue
            message, reply = answered
            reply["journal_seq"] = self.out.accepted_seq
            ticket = self._keep()
            self.tell()
            self._note_command(message, reply)
            if is_in_order(message):
                self.out.reply(reply)
            elif ticket is not None:
                self._unanswered.append((ticket, reply))
            else:
                self.out.blob(Kind.REPLY, reply, ring="control_out")
        # A step of the market goes before the next commands, so that a flood of them cannot starve it.
        self._market_first = True

    def _keep(self) -> Ticket | None:
        """Has the thrown switches kept if they are others than before; None if they are not."""
        switches = self.kernel.latches()
        if self._ledger is None or switches == self._kept:
            return None
        self._kept = switches
        return self._ledger.keep(switches)

    def _note_command(self, message: Any, reply: dict[str, Any]) -> None:
        fields = message if isinstance(message, dict) else {}
        if fields.get("command") in ("query_status", "query_limits", "resync"):
            return
        words = [str(fields[name])[:64] for name in ("command", "strategy_id") if fields.get(name)]
        extra = {"step": self.step, "success": reply["success"]}
        self._log.info("%s: %s", " ".join(words) or "command", reply["message"], extra=extra)

    def _signals(self) -> None:
        """Gives the signals at the head of the order ring to the strategies."""
        self.new_step()
        while self.signal_waits():
            for record in self._blobs(ORDERS_IN, 1):
                self.apply_signal(record)
                break
            else:
                return

    def _blobs(self, ring: int, most: int) -> Iterator[np.void]:
        """Takes up to ``most`` records of a ring of blobs, each when it is asked for."""
        for _ in range(most):
            data = self.take_blob(ring)
            if data is None:
                self.check()
                return
            yield np.frombuffer(data, record_dtype)[0]

    def _registered(self, name: str, slot: int) -> None:
        self.out.set_name(slot, name)
        self.release_feed(CLIENT_IS_THERE)

    def _resync(self) -> bool:
        return not self._is_news() or self.tell_all()

    def tell_all(self) -> bool:
        """Publishes strategies, live orders, positions and books as they are; False without room for it."""
        infos = [self.kernel.strategy(name) for name in self.kernel.strategy_names]
        if not self.out.room_for_resync(8 * len(infos)):
            return False
        for info in infos:
            self.out.blob(Kind.STRATEGY, strategy_blob(info, self.kernel.latches()), strategy=info.slot)
        self.out.resend_orders()
        self.out.snapshot_books()
        self.flush()
        self.check()
        return True

    def save(self, ended: int) -> bool:
        """Writes the session's file, where one is asked for and there was a market.

        Args:
            ended: Engine time of the session's end.

        Returns:
            Whether there is a file.
        """
        return self._keeper is not None and self._keeper.save(self.kernel, ended)

    def tell(self) -> None:
        """Publishes changed strategies and log lines, and keeps what a breaker has latched."""
        self._keep()
        slots, thrown = self.out.changed_strategies(), self.kernel.latches()
        if thrown != self._told:
            # A switch of an instrument holds whoever trades it.
            self._told, slots = thrown, range(len(self.kernel.strategy_names))
        for slot in slots:
            info = self.kernel.strategy(self.kernel.strategy_names[slot])
            self.out.blob(Kind.STRATEGY, strategy_blob(info, thrown), strategy=slot)
        for ts, step, name, level, text in self.out.take_logs():
            line = {"level": level, "source": name, "text": text[:MAX_LOG_TEXT]}
            self.out.blob(Kind.LOG, line, ring="telemetry_out")
            self._log.log(
                getattr(logging, level.upper(), logging.INFO),
                "%s: %s",
                name,
                text,
                extra={"engine_ts": ts, "step": step},
            )

    def _fault(self) -> None:
        """A feed record that cannot be right: everything before it stands, and the daemon ends."""
        if 40 <= self.code < 80:
            raise DataError(
                f"the feed sent a record at {self.now} that the engine cannot take (code {self.code})"
            )
        self.check()

    # --- stopping -------------------------------------------------------------------------------

    def stop(self) -> None:
        """``on_stop`` of all strategies, cancels all orders, waits for the answers, tells all of it.

        Raises:
            StrategyError: Orders are still live although nothing is on its way any more.
        """
        ended = self.now
        self.new_step()
        self.take_mark(Mark.STOP, self.now)
        self.check()
        self.apply_stop()
        deadline = time.monotonic() + self._stop_timeout_s
        settled = 0
        while (done := self.settle_venue(1000)) and settled < SETTLE_EVENTS and time.monotonic() < deadline:
            self.check()
            settled += done
        self.flush()
        self.tell()
        if self._ledger is not None:
            self._ledger.close()
            self._answer_kept()
        self.flush()
        self.save(ended)
        self.inputs.note_state(self.now, self.kernel.state_hash())
        self.inputs.end(self.now, left_open(self.kernel, self._log))
        live = self.kernel.counters["live_orders"]
        self._log.info(
            "engine stopped", extra={"live_orders": live, "events": self.events, "step": self.step}
        )
        if live:
            raise StrategyError(f"{live} orders are still live after a stop")
