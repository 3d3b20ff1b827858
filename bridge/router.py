"""External strategies: who has which, from hello to the end, and their executions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bridge import protocol as p
from bridge import records
from bridge.attempts import Ration
from bridge.control import Control
from bridge.external import External, Live, Peer
from bridge.intake import Intake, Intakes
from bridge.link import ALL_INSTRUMENTS, EngineLink
from bridge.ordernews import OrderNews
from bridge.requests import Requests
from bridge.sessions import Sessions
from engine.core.types import Status

REFUSED_BURST = 20
REFUSED_TICKS = 10
"""Registrations that the engine may refuse to one key at once, and ticks until one more."""


class Router:
    """The order socket's messages.

    Args:
        link: Where requests go.
        sessions: Where executions go.
        control: Registers and disconnects strategies.
        epoch: Of this bridge.
        instruments: In the engine's order.
        grace: Ticks after a restart of the bridge in which clients of live strategies must come back.
        intakes: What sessions have sent; that of the bridge before, after a restart.
    """

    def __init__(
        self,
        link: EngineLink,
        sessions: Sessions,
        control: Control,
        epoch: int,
        instruments: Sequence[p.InstrumentInfo],
        grace: int,
        intakes: Intakes,
    ) -> None:
        self._link, self._sessions, self._control = link, sessions, control
        self._epoch = epoch
        self._intakes = intakes
        self._numbers = {info.symbol: number for number, info in enumerate(instruments)}
        self.requests = Requests(link, sessions, control, instruments, intakes)
        self._grace = grace
        self.externals: dict[str, External] = {}
        # Set by the server where it has keys: whether one of them is good.
        self.holds: Callable[[str], bool] = lambda key: True
        self._disowned: set[str] = set()
        self._refusals = Ration(REFUSED_BURST, REFUSED_TICKS)
        self._by_slot: dict[int, External] = {}
        self._waiting: list[Peer] | None = []
        self._resyncing = False

    # --- sessions ------------------------------------------------------------------------------

    def join(self, peer: Peer) -> None:
        """A trader says hello: registers its strategy; the welcome waits for the engine."""
        if self._waiting is not None:
            self._waiting.append(peer)
            return
        hello = peer.hello
        unknown = [symbol for symbol in hello.symbols if symbol not in self._numbers]
        if unknown:
            self._sessions.refuse(peer, "unknown_symbol", f"the engine has no instrument {unknown[0]!r}")
            return
        if self._refusals.spent(peer.grant.key):
            # Each costs the engine an input, a record and a line of its log.
            self._sessions.refuse(peer, "busy", "the engine has refused too many registrations: try later")
            return
        external = self.externals.setdefault(hello.strategy_id, External(hello.strategy_id))
        intake = self._resumed(peer)
        if external.peer is not None:
            if intake is None or not external.peer.live:
                text = f"a live session has strategy {hello.strategy_id!r}"
                self._sessions.refuse(peer, "strategy_in_use", text)
                return
            # The same session over a new connection: nothing has ended.
            self._sessions.leave(external.peer)
        external.peer, peer.external = peer, external
        if external.seated and not external.leaving:
            # Its client is back, or somebody else takes its place.
            if intake is not None and (not hello.symbols or external.symbols == frozenset(hello.symbols)):
                self._joined(external, peer, external.slot, intake)
                return
            self._leave(external, "cancel")
        self._tell_leaving(external)
        if intake is None and external.live and not external.leaving:
            # Of the session before, which had asked to keep them.
            external.leaving = not self._link.order(Status.CANCELED, external.slot, ALL_INSTRUMENTS, 0)
        fields = {"strategy_id": hello.strategy_id, "symbols": hello.symbols, "params": hello.params}

        def answer(reply: records.ReplyBlob | None, step: int) -> None:
            if reply is not None and reply.success and reply.slot is not None:
                if external.peer is peer:
                    self._joined(external, peer, reply.slot, intake)
                else:
                    # Its key was revoked meanwhile, and the engine has been told that it is gone.
                    external.slot = reply.slot
                    self._by_slot[reply.slot] = external
                return
            if external.peer is not peer:
                return
            external.peer = None
            self._forget(external)
            if reply is None:
                self._sessions.refuse(peer, "engine_timeout", "the engine did not answer in time")
            else:
                self._refusals.use(peer.grant.key)
                self._sessions.refuse(peer, "refused", reply.message)

        if external.leaving or not self._control.ask("register", fields, answer):
            external.peer = None
            self._forget(external)
            self._sessions.refuse(peer, "busy", "the engine's control ring is full")

    def _forget(self, external: External) -> None:
        # A name that the engine has never seated leaves nothing behind, however many are tried.
        if external.slot < 0 and not external.leaving:
            del self.externals[external.strategy_id]

    def _resumed(self, peer: Peer) -> Intake | None:
        """The session that a hello goes on with; None if it begins one."""
        intake = self._intakes.of(peer.hello.strategy_id)
        if intake is None or (intake.session, intake.owner) != (peer.hello.resume, peer.grant.key):
            return None
        return intake

    def _joined(self, external: External, peer: Peer, slot: int, intake: Intake | None) -> None:
        external.slot, external.grace, external.seated = slot, 0, True
        external.symbols = frozenset(peer.hello.symbols)
        if intake is None:
            intake = self._intakes.open(external.strategy_id, peer.hello.on_loss, peer.grant.key)
        elif intake.on_loss != peer.hello.on_loss:
            self._intakes.set_policy(intake, peer.hello.on_loss)
        external.intake, peer.session = intake, intake.session
        before = self._by_slot.get(slot)
        if before is not None and before is not external and before.peer is None and not before.leaving:
            # The engine has given away the seat of one that had left without a trade.
            self.externals.pop(before.strategy_id, None)
        self._by_slot[slot] = external
        self._sessions.welcome(peer)

    def gone(self, peer: Peer, lost: bool = True) -> None:
        """A trader's connection is over.

        Args:
            peer: The connection.
            lost: Its client is gone without a word: the session's policy says what becomes of its orders.
        """
        external = peer.external
        if external is not None and external.peer is peer:
            external.peer = None
            self._leave(external, external.intake.on_loss if lost and external.intake else "cancel")
            self._tell_leaving(external)

    def disown(self) -> None:
        """Cancels what those have left at the venue whose keys are good for nothing any more."""
        for external in self.externals.values():
            intake = external.intake
            if (
                external.peer is None
                and external.live
                and intake is not None
                and not self.holds(intake.owner)
            ):
                self._disowned.add(external.strategy_id)
        for name in list(self._disowned):
            if self._control.ask("cancel_orders", {"strategy_id": name}, lambda reply, step: None):
                self._disowned.discard(name)

    def _leave(self, external: External, policy: p.OnLoss) -> None:
        external.leaving, external.policy = True, policy

    def _tell_leaving(self, external: External) -> None:
        if external.leaving:
            fields = {"strategy_id": external.strategy_id, "policy": external.policy}
            external.leaving = not self._control.ask("disconnect", fields, lambda reply, step: None)
            external.seated &= external.leaving

    def tick(self) -> None:
        """One heartbeat interval: tells the engine again what its ring had no room for."""
        for external in self.externals.values():
            if external.grace > 0:
                external.grace -= 1
                if external.grace == 0 and external.peer is None:
                    self._leave(external, external.intake.on_loss if external.intake else "cancel")
            self._tell_leaving(external)
        if self._disowned:
            self.disown()
        self._refusals.tick()
        self._intakes.tick()

    # --- from the engine -----------------------------------------------------------------------

    def strategy(self, slot: int, blob: records.StrategyBlob) -> None:
        """A STRATEGY record: after a restart it tells of strategies whose clients may come back."""
        if blob.kind != "external" or blob.strategy_id in self.externals:
            return
        external = self.externals[blob.strategy_id] = External(blob.strategy_id, slot)
        external.intake = self._intakes.of(blob.strategy_id)
        self._by_slot[slot] = external
        if blob.state in ("Starting", "Running", "Paused"):
            external.seated, external.symbols = True, frozenset(blob.symbols)
            external.grace = self._grace

    def order(self, news: OrderNews, symbol: str) -> None:
        """An ORDER record: an execution, if its strategy is external."""
        external = self._by_slot.get(news.strategy)
        if external is None:
            return
        seq, number, done = external.exec_seq + 1, news.client_order_id, news.cum_exec_qty
        known = external.live.get(number)
        # An order carries its last execution with it; only the update that brings a new one may tell it.
        executed = done > known.done if known else news.changed
        frame = news.execution(executed, self._epoch, seq, external.strategy_id, symbol)
        if news.ended:
            external.live.pop(number, None)
        elif number and not news.denied:
            if known is None or known.done != done:
                external.live[number] = Live(news.instrument, news.side, done)
            if external.told is not None:
                external.told.add(number)
        external.exec_seq = seq
        external.kept.append(frame)
        if external.intake is not None:
            self._intakes.told(external.intake, number, frame)
        if external.peer is not None and external.peer.live:
            self._sessions.send_frame(external.peer, frame)

    def ask_resync(self) -> None:
        """The engine was asked to tell all live orders again; what is sent from here on may come after."""
        for external in self.externals.values():
            external.fresh = set()

    def begin_resync(self) -> None:
        """From here on the engine tells every live order again."""
        self._resyncing = True
        for external in self.externals.values():
            external.told = set()

    def tells_anew(self, slot: int) -> None:
        """As :meth:`bridge.publisher.Publisher.tells_anew`, of a strategy; it may just have been heard of."""
        external = self._by_slot.get(slot)
        if external is not None and self._resyncing:
            external.told = set()

    def end_resync(self) -> None:
        """All live orders were told; who has lost an execution is made to notice."""
        self._resyncing = False
        for external in self.externals.values():
            told, external.told = external.told, None
            fresh, external.fresh = external.fresh or (), None
            if told is None:
                continue
            ended = [number for number in external.live if number not in told and number not in fresh]
            for number in ended:
                del external.live[number]
            if ended:
                external.exec_seq += 1
                external.kept.clear()
                if external.peer is not None and external.peer.live:
                    self.requests.replay(external.peer, external, external.exec_seq)
        self.disown()
        waiting, self._waiting = self._waiting or (), None
        for peer in waiting:
            self._sessions.rejoin(peer)
