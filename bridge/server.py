"""The bridge's process: one thread between the engine's rings and four ZeroMQ sockets.

It polls the order and the control socket and the bell of the rings. Control goes first in every turn and
has its own socket and ring, so that a flood of orders or market data cannot delay it. Nothing that comes
in over a socket can end the process; it is dropped, counted and answered by an error.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

from bridge import protocol as p
from bridge.attempts import Attempts, Ration, who
from bridge.config import BridgeConfig
from bridge.control import Control
from bridge.durable import LOOK_S, Durability
from bridge.endpoints import check_endpoint
from bridge.external import Peer
from bridge.inflow import RECORDS_A_TURN, Inflow
from bridge.intake import Intakes
from bridge.keyring import Keyring
from bridge.lane import SPIN_NS
from bridge.lanes import Lanes
from bridge.leash import Leashes
from bridge.link import CONTROL_OUT, MARKET_OUT, ORDERS_OUT, TELEMETRY_OUT, EngineLink
from bridge.publisher import Publisher
from bridge.roles import Grant
from bridge.router import Router
from bridge.sessions import LOST, TICKS_PER_BEAT, Sessions
from bridge.sockets import Doors
from bridge.stamps import server_clock
from bridge.trial import try_doors
from engine.core.sleeper import Lookout, Sleeper

if TYPE_CHECKING:
    Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

MARKET_BACKLOG = 8192
"""Records in ``market_out``, 10 ms of work, beyond which books are conflated: clients want the present."""
CONFLATED_A_TURN = 1 << 13
ALL = CONTROL_OUT | ORDERS_OUT | TELEMETRY_OUT | MARKET_OUT
UNWANTED_S, FLOWS_S = 0.005, 0.02
"""How often a market is looked at while nobody wants it, as long as its last record is no older than that."""
FINISH_S = 1.0
"""How long a bridge that is told to stop waits for what it holds back to become durable."""
REST_S, PUT_OFF_S = 0.0005, 0.002
"""A tick waits until nothing has come for so long, but no longer than that: a trip takes less."""
SAID_BURST = 200
SAID_TICKS = 5
"""Lines of the log on who joins and who leaves: at once, and ticks until one more."""


class Server:
    """Sockets, rings and the parts that know what to do with their messages.

    Args:
        config: As :func:`run_bridge`.
        link: The engine's rings.
        log: Where to say what happens.

    Raises:
        BridgeError: An endpoint is not allowed or is taken.
    """

    def __init__(self, config: BridgeConfig, link: EngineLink, log: Log) -> None:
        check_endpoint(config.endpoint, bool(config.keys))
        self.config = config
        self.epoch = time.time_ns()
        self._link = link
        self._log = log
        keyring = Keyring(config.keys) if config.keys else None
        symbols = [instrument.symbol for instrument in config.instruments]
        self.doors = doors = Doors(config.endpoint, keyring, symbols, self._subscribed)
        # Who needs a key shows it to a socket.
        self._lanes = Lanes(
            config.endpoint if config.lanes and not keyring else "",
            partial(self._subscribed, source="lanes"),
            doors.wake_by,
            log,
        )
        self.publisher = Publisher(self.epoch, config.engine, config.mode, config.instruments, self._publish)
        self.sessions = Sessions(self.publisher, self._welcome, self._send, config.heartbeat_misses)
        self.sessions.longest = self._longest
        self.durability = Durability(config.journal, config.hold, self.sessions)
        self.control = Control(link, self.sessions, self.epoch, config.rearm_token(), self.durability.reply)
        grace = max(1, round(config.grace_s * 1e9 / p.HEARTBEAT_NS))
        self._intakes = Intakes(config.sessions)
        self.router = Router(
            link, self.sessions, self.control, self.epoch, config.instruments, grace, self._intakes
        )
        self.inflow = Inflow(link, self.publisher, self.router, self.control, self.durability, log)
        if keyring is not None:
            self.router.holds = lambda key: keyring.grant(key) is not None
        self.sessions.on_trader = self.router.join
        self.sessions.on_message = {"orders": self.router.requests.message, "control": self.control.message}
        self.sessions.on_wait, self.sessions.on_gone = self.durability.wait, self._gone
        self.attempts = Attempts(self.control.ask, log)
        self._said, self._unsaid = Ration(SAID_BURST, SAID_TICKS), 0
        self.sessions.on_refused = self._refused
        doors.wake_by(link.bell.fd)
        self._leashes = Leashes(config.endpoint, self.sessions.held, self.sessions.lost)
        self._leash_fds, self._lanes_fd = self._leashes.descriptors, self._lanes.fileno()
        for descriptor in (*self._leash_fds, self._lanes_fd):
            doors.wake_by(descriptor)
        self._sleeper = Sleeper(doors.fileno(), link.bell, Lookout(SPIN_NS))
        self.on_tick: Callable[[], None] | None = None
        self._interval = p.HEARTBEAT_NS / TICKS_PER_BEAT / 1e9
        self._due = self._next_tick = time.monotonic() + self._interval
        self._worked = self._market_seen = 0.0

    # --- sockets -------------------------------------------------------------------------------

    def try_doors(self) -> None:
        """Has strangers try the sockets, if keys are needed.

        Raises:
            BridgeError: One of them got in or got something, or was not refused.
        """
        if (keyring := self.doors.keyring) is not None:
            try_doors(self.config.endpoint, keyring.public, self.doors.look_everywhere, self.doors.publish)
            # These were our own.
            self.doors.refused()

    def _subscribed(self, prefix: str, on: bool, source: str = "market") -> None:
        self.publisher.subscribed(prefix, on, source)

    def _publish(self, topic: bytes, frame: bytes) -> None:
        self.doors.publish(topic, frame)
        if self._lanes.rings:
            self._lanes.publish(topic, frame)

    def _send(self, channel: str, identity: bytes, frame: bytes) -> None:
        if self._lanes.has(identity):
            self._lanes.send(identity, frame)
        else:
            self.doors.send(channel, identity, frame)

    def _longest(self, identity: bytes) -> int:
        return self._lanes.longest(identity) if self._lanes.has(identity) else p.MAX_SERVER_FRAME

    def _welcome(self, peer: Peer) -> p.Welcome:
        self._say(peer, "joined")
        return p.Welcome(
            p.VERSION,
            self.epoch,
            peer.session,
            p.socket_endpoint(self.config.endpoint, "market"),
            p.socket_endpoint(self.config.endpoint, "telemetry"),
            self.config.mode,
            self.config.engine,
            list(self.config.instruments),
            peer.external.exec_seq if peer.external else 0,
            peer.stamps.nonce,
            server_clock(),
            peer.external.intake.received if peer.external and peer.external.intake else 0,
        )

    def _gone(self, peer: Peer, why: str) -> None:
        # The cancels first: a line of the log may cost the interpreter's lock for milliseconds.
        self.router.gone(peer, lost=why in LOST)
        self._say(peer, f"left: {why}")

    def _refused(self, channel: str, hello: p.Hello, grant: Grant, what: str, why: str) -> None:
        self.attempts.refused(who(grant.name, hello), f"{what} on the {channel} socket", why)

    def _say(self, peer: Peer, what: str) -> None:
        name = peer.hello.strategy_id or peer.hello.client
        text = f"{peer.hello.role} {name} on the {peer.channel} socket {what}"
        if self._said.spent():
            self._unsaid += 1
            return
        if self._unsaid:
            text, self._unsaid = f"{text} (and {self._unsaid} others joined or left)", 0
        self._said.use()
        self._log.info("%s", text)
        self.publisher.log(time.time_ns(), "info", "bridge", text)

    def _receive(self, channel: str) -> None:
        """Takes a turn's messages of a socket."""
        if self.doors.waiting(channel):
            for frames, grant in self.doors.receive(channel):
                self.sessions.receive(channel, frames, grant)

    def _at_the_door(self) -> None:
        """Lets in, and puts out."""
        keyring = self.doors.keyring
        if keyring is not None and self.doors.revoked():
            if keyring.trouble:
                self._log.error("nobody may come in: %s", keyring.trouble)
            self.sessions.end(lambda grant: not keyring.holds(grant), "the key is revoked")
            self.router.disown()
            self.doors.renew()
        if self.doors.look() and self.doors.flooded():
            self._log.warning("too much is subscribed to: all subscribers have to come back")
            self.doors.renew()

    # --- the loop ------------------------------------------------------------------------------

    def step(self, timeout_s: float) -> bool:
        """Waits for something to do and does a turn of it: what nothing has asked for is not looked at.

        Args:
            timeout_s: The longest wait, in seconds.

        Returns:
            Whether there may be more to do at once.
        """
        now, waking = time.monotonic(), ALL
        wait = min(timeout_s, self._next_tick - now)
        if self.durability.busy:
            wait = min(wait, LOOK_S)
            if self.durability.full:
                waking &= ~ORDERS_OUT
        if not self.publisher.market_wanted and now < self._market_seen + FLOWS_S:
            # Nobody waits for it, and the engine's thread pays for each time that it wakes us.
            wait, waking = min(wait, UNWANTED_S), waking & ~MARKET_OUT
        if wait > 0 and self.doors.any_waiting():
            wait = 0.0
        lanes, sleeper = self._lanes, self._sleeper
        look = wait > 0 and lanes.was_busy()
        ready = sleeper.sleep(self._link.incoming, waking, lanes.rings, lanes.bells, wait, look)
        self.durability.release()
        if ready:
            self._noticed(ready)
        knocks = self.doors.knocks
        if knocks:
            self._at_the_door()
            self._receive("control")
        filled = sleeper.filled
        if filled & CONTROL_OUT:
            self.inflow.replies()
        more = bool(filled & ORDERS_OUT) and self.inflow.orders()
        if knocks:
            self._receive("orders")
        if sleeper.more_filled or lanes.ending:
            more |= lanes.receive(self.sessions.receive_order)
        if filled & TELEMETRY_OUT:
            telemetry = self._link.take("telemetry_out", RECORDS_A_TURN)
            self.publisher.telemetry(telemetry)
            more |= len(telemetry) == RECORDS_A_TURN
        if filled & MARKET_OUT:
            behind = self._link.backlog("market_out") > MARKET_BACKLOG
            market = self._link.take("market_out", CONFLATED_A_TURN if behind else RECORDS_A_TURN)
            self.publisher.market(market, conflate=behind)
            more |= len(market) == RECORDS_A_TURN
            self._market_seen = time.monotonic()
        now = time.monotonic()
        if filled or knocks or sleeper.more_filled:
            self._worked = now
        if now >= self._next_tick:
            self._tick(now)
        return more

    def _tick(self, now: float) -> None:
        """A part of a heartbeat interval has passed; what has just come in has an answer coming."""
        rested = self._worked + REST_S
        if now < rested and now < self._due + PUT_OFF_S:
            self._next_tick = rested
            return
        # Counted in our own ticks, after reading: while we were stopped, nobody else was silent.
        self._due = self._next_tick = now + self._interval
        self._leashes.tick()
        if self.sessions.tick():
            self._beat()

    def _noticed(self, ready: Collection[int]) -> None:
        """Looks after descriptors that are ready."""
        self.doors.noticed(ready)
        if not self._leash_fds.isdisjoint(ready):
            self._leashes.look()
        if self._lanes_fd in ready:
            self._lanes.look()

    def _beat(self) -> None:
        """A whole heartbeat interval has passed."""
        self.attempts.tick(self.doors.refused())
        self._said.tick()
        self.publisher.tick()
        self.control.tick()
        self.router.tick()
        self.durability.tick()
        if self.inflow.must_resync and not self.durability.holding:
            self.inflow.resync()
        if self.on_tick is not None:
            self.on_tick()

    def run(self, stop: Callable[[], bool]) -> None:
        """Works until it is told to stop, then passes on what the engine has said and says goodbye.

        Args:
            stop: Asked at least every tick.
        """
        self.inflow.resync()
        more = False
        while not stop():
            more = self.step(0.0 if more else self._interval)
        self._finish()
        self.sessions.close("the bridge stops")

    def _finish(self) -> None:
        """Passes on what the engine has said; what does not become durable is never told."""
        deadline = time.monotonic() + FINISH_S
        while (self._link.waiting() or self.durability.busy) and not self._hopeless(deadline):
            self.step(LOOK_S)
        self.control.give_up()
        if lost := self.durability.give_up():
            self._log.warning("%d executions and answers are not told: their records are not durable", lost)

    def _hopeless(self, deadline: float) -> bool:
        """Whether the rings wait for the journal, and that has had its time or has halted."""
        if not self.durability.busy or (self._link.waiting() and not self.durability.full):
            return False
        return self.durability.trouble is not None or time.monotonic() > deadline

    def close(self) -> None:
        """Closes sockets and rings."""
        self.doors.close()
        self.durability.close()
        self._leashes.close()
        self._lanes.close()
        self._intakes.close()
        self._link.close()


def run_bridge(
    config: BridgeConfig,
    *,
    stop: Callable[[], bool],
    ready: Callable[[], None] = lambda: None,
    log: Log | None = None,
    ticking: Callable[[Control], Callable[[], None] | None] = lambda control: None,
) -> None:
    """Runs a bridge in this thread until it is told to stop.

    Args:
        config: Endpoint, engine and rings.
        stop: Asked at least every heartbeat interval whether to end.
        ready: Called once the sockets are bound.
        log: Where to say what happens; the logger ``ringbook.bridge`` by default.
        ticking: Makes what is called each heartbeat interval, given what tells the engine commands.

    Raises:
        BridgeError: The endpoint is not allowed or is taken.
        FileNotFoundError: A ring or the journal is missing.
        RingCorrupt: A ring or the journal cannot be right.
    """
    check_endpoint(config.endpoint, bool(config.keys))
    link = EngineLink.attach(config.rings, config.bell, config.engine_bell)
    try:
        server = Server(config, link, log or logging.getLogger("ringbook.bridge"))
    except BaseException:
        link.close()
        raise
    try:
        server.on_tick = ticking(server.control)
        server.try_doors()
        ready()
        server.run(stop)
    finally:
        server.close()
