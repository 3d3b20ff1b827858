"""What the two clients have in common: arguments, callbacks, and what they say about the connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any

from bridge import protocol as p
from bridge.auth import find_key
from bridge.discovery import default_endpoint
from bridge.errors import NotDurable, RequestTimeout
from bridge.session import NO_ANSWER, Session
from bridge.streams import OrderState
from bridge.transport import ConnectionState, SocketTransport


class BaseClient:
    """A connection to a daemon that keeps itself up; use one of the two clients derived from it.

    Attributes:
        on_state: Called with (:class:`ConnectionState`, text) at each change.
        on_message: Called with (topic, message) for every message of every subscribed topic; a
            :class:`bridge.protocol.Snapshot` says that what was known of the topic is replaced.
        on_execution: Called with each :class:`bridge.protocol.Execution` of the own strategy.
        on_order: Called with the state of an own order, a copy, when what became of it was found out without
            an execution: those were lost with a connection, a bridge or a daemon.
        on_error: Called with each :class:`bridge.protocol.Error`.

    Args:
        endpoint: Base endpoint, ``ipc://DIRECTORY`` or ``tcp://HOST:PORT``; empty finds the daemon that
            ``ringbook run`` started on this machine, as :func:`bridge.discovery.default_endpoint` says.
        role: ``observer`` reads, ``trader`` trades as ``strategy_id``, ``risk`` stops and limits
            trading, ``admin`` does everything (and trades too if it names a strategy).
        strategy_id: Name of the external strategy.
        symbols: What the strategy trades; empty for all.
        params: The strategy's parameters as operators see them.
        name: The client's name in the server's log.
        heartbeat_misses: Silent intervals after which the server counts as gone.
        key_file: The client's key, for a daemon that has keys; empty takes the one that
            ``$RINGBOOK_KEY_FILE`` names, if it names one; None takes none.
        on_loss: What becomes of the own orders when this process is lost: ``cancel``, ``keep``, or
            ``reduce``, which keeps those that only make a position smaller.
        resume: Session of an earlier process (``welcome.session``) to go on with; empty begins a new one.
        lane: Whether a client that trades over ipc moves to a lane of shared memory where the bridge offers
            one. ``shm://`` as the endpoint insists on it.

    Raises:
        BridgeError: The key file cannot be used.
        ValueError: The endpoint is neither ipc nor tcp, or a trader has no ``strategy_id``.
    """

    def __init__(
        self,
        endpoint: str = "",
        *,
        role: p.Role = "observer",
        strategy_id: str = "",
        symbols: Sequence[str] = (),
        params: dict[str, Any] | None = None,
        name: str = "python",
        heartbeat_misses: int = p.HEARTBEAT_MISSES,
        key_file: str | Path | None = "",
        on_loss: p.OnLoss = "cancel",
        resume: str = "",
        lane: bool = True,
    ) -> None:
        key = find_key(key_file)
        hello = p.Hello(
            p.VERSION, name, role, strategy_id, list(symbols), dict(params or {}), resume, on_loss
        )
        self._transport = self._make_transport()
        self._transport.key = key
        # Lanes are few: who does not trade does without.
        self._transport.lanes = lane and bool(strategy_id)
        self._session = Session(self._transport, endpoint or default_endpoint(), hello, heartbeat_misses)
        self.on_state: Callable[[ConnectionState, str], Any] = lambda state, detail: None
        self.on_message: Callable[[str, Any], Any] = lambda topic, message: None
        self.on_execution: Callable[[p.Execution], Any] = lambda execution: None
        self.on_order: Callable[[OrderState], Any] = lambda state: None
        self.on_error: Callable[[p.Error], Any] = lambda error: None
        self._session.on_state = self._state_changed
        self._session.on_message = lambda topic, message: self.on_message(topic, message)
        self._session.on_execution = self._executed
        self._session.on_order = lambda state: self.on_order(state)
        self._session.on_error = lambda error: self.on_error(error)

    def _make_transport(self) -> SocketTransport:
        raise NotImplementedError

    def _state_changed(self, state: ConnectionState, detail: str) -> None:
        self.on_state(state, detail)

    def _executed(self, execution: p.Execution) -> None:
        self.on_execution(execution)

    @property
    def state(self) -> ConnectionState:
        """Where the client stands with the server."""
        return self._session.state

    @property
    def detail(self) -> str:
        """Why the state is what it is; the engine's name when connected."""
        said = self._session.detail
        if said != NO_ANSWER and (said or self.state is not ConnectionState.CONNECTING):
            return said
        key = self._transport.key
        if key is not None:
            return f"{NO_ANSWER} (with key {key.name!r}: does the daemon know it?)"
        if self._session.endpoint.startswith("tcp://"):
            return f"{NO_ANSWER} (without a key: a daemon that has keys answers nobody else)"
        return said

    @property
    def welcome(self) -> p.Welcome | None:
        """The server's last welcome: epoch, mode, engine, instruments."""
        return self._session.welcome

    @property
    def rtt_ns(self) -> int:
        """Round trip of the last heartbeat, ns."""
        return self._session.rtt_ns

    @property
    def instruments(self) -> dict[str, p.InstrumentInfo]:
        """The engine's instruments by symbol; empty before the first welcome."""
        return {i.symbol: i for i in self.welcome.instruments} if self.welcome else {}

    # --- orders: the same in both clients ----------------------------------------------------------------

    def new_order_id(self) -> int:
        """A number for :meth:`submit` that nobody has used, for who must know it beforehand."""
        return self._session.new_id()

    def submit(
        self,
        symbol: str,
        side: p.Side,
        px: float,
        qty: float,
        *,
        order_type: p.OrderType = "limit",
        time_in_force: p.TimeInForce = "GTC",
        client_order_id: int = 0,
    ) -> int:
        """Sends an order and returns its client_order_id at once; executions tell what became of it.

        An order may be sent again with the number that it had: it is executed once, however often it comes.

        Raises:
            ConnectionLost: There is no connection now; nothing was sent.
            OrderRejected: The socket is full, or a field has a wrong type or value; nothing was sent.
            CommandRefused: This client has no strategy.
        """
        number = client_order_id or self._session.new_id()
        self._send(p.Submit(number, symbol, side, px, qty, order_type, time_in_force))
        return number

    def modify(self, client_order_id: int, px: float, qty: float) -> None:
        """Asks for a new price and total open quantity; raises as :meth:`submit`."""
        self._send(p.Modify(client_order_id, px, qty))

    def cancel(self, client_order_id: int) -> None:
        """Asks for an order's end; raises as :meth:`submit`."""
        self._send(p.Cancel(client_order_id))

    def cancel_all(self, symbol: str = "") -> None:
        """Asks for the end of all own orders, of one symbol if it is named; raises as :meth:`submit`."""
        self._send(p.CancelAll(symbol))

    def send_signal(self, name: str, value: float, symbol: str = "") -> None:
        """Sends a number to the strategies inside the engine; raises as :meth:`submit`."""
        self._send(p.Signal(name, value, symbol))

    def send_features(self, name: str, symbol: str, columns: Sequence[str], rows: Any) -> None:
        """Publishes rows of features about an instrument, for whoever listens to ``md.<symbol>.feature``.

        Args:
            name: What they are.
            symbol: The instrument.
            columns: Names of the columns.
            rows: NumPy array of 64-bit floats, shape (n, len(columns)), or its bytes.

        Raises:
            ConnectionLost: There is no connection now; nothing was sent.
            OrderRejected: The socket is full, or the batch is too long (64 KiB) or not of that shape.
            CommandRefused: This client has no strategy.
        """
        data = rows if isinstance(rows, bytes) else rows.astype("<f8").tobytes()
        self._send(p.Features(name, symbol, list(columns), data))

    def _kill_place(self) -> tuple[str, str]:
        """The socket for ``Kill``, and the strategy it means when none is named: a trader's is its own."""
        hello = self._session.hello
        return ("orders", hello.strategy_id) if hello.role == "trader" else ("control", "")

    def _send(self, message: Any) -> None:
        self._session.send(message)


Journaled = int | OrderState | p.Execution | p.ControlReply
"""A record of the journal: its number, or what follows from it."""


def journal_seq(what: Journaled) -> int:
    """The number of the record that something follows from.

    Raises:
        NotDurable: It follows from none: the daemon keeps no journal, or the order has no answer yet.
    """
    number = what if isinstance(what, int) else what.journal_seq
    if number > 0:
        return number
    if isinstance(what, OrderState) and what.status == "PENDING":
        raise NotDurable(
            "not_durable: the engine has not answered the order yet: wait_order first", "not_durable"
        )
    raise NotDurable("no_journal: it follows from no record: the daemon keeps no journal", "no_journal")


def not_yet(seq: int, timeout: float) -> RequestTimeout:
    """What a wait for a record ends with that was too long."""
    return RequestTimeout(
        f"record {seq} of the journal is not known to be durable after {timeout:g} s: unknown, not refused"
    )


def limits_message(
    request_id: int, strategy_id: str, symbol: str, limits: dict[str, Any]
) -> p.UpdateRiskLimits:
    """Limits by their names as a message: those that have a field of their own go there."""
    own = {
        name: value
        for name, value in limits.items()
        if name in p.UpdateRiskLimits.__struct_fields__ and value != inf
    }
    rest = {name: value for name, value in limits.items() if name not in own}
    return p.UpdateRiskLimits(request_id, strategy_id, symbol, limits=rest, **own)
