"""Who may do what: one table of messages and roles, which the bridge, the docs and the tests use.

A grant says whose connection a message came over. Without keys that is a process of the daemon's own user,
who may be anything that its hello says; with keys it is what the key was made for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from bridge import protocol as p

ROLES: tuple[p.Role, ...] = get_args(p.Role)

_EVERYBODY = frozenset(ROLES)
_TRADES: frozenset[p.Role] = frozenset({"trader", "admin"})
_BRAKES: frozenset[p.Role] = frozenset({"risk", "admin"})
_ADMIN: frozenset[p.Role] = frozenset({"admin"})

MAY: dict[str, dict[type[p.Message], frozenset[p.Role]]] = {
    "orders": {
        p.Hello: _EVERYBODY,
        p.Heartbeat: _EVERYBODY,
        p.Goodbye: _EVERYBODY,
        p.SnapshotRequest: _EVERYBODY,
        p.ReplayRequest: _EVERYBODY,
        p.WaitDurable: _EVERYBODY,
        p.Submit: _TRADES,
        p.Modify: _TRADES,
        p.Cancel: _TRADES,
        p.CancelAll: _TRADES,
        p.Signal: _TRADES,
        p.Features: _TRADES,
        p.ExecutionReplayRequest: _TRADES,
        p.QueryOrder: _TRADES,
        p.Kill: _TRADES,
    },
    "control": {
        p.Hello: _BRAKES,
        p.Heartbeat: _BRAKES,
        p.Goodbye: _BRAKES,
        p.SnapshotRequest: _BRAKES,
        p.ReplayRequest: _BRAKES,
        p.WaitDurable: _BRAKES,
        p.QueryStatus: _BRAKES,
        p.QueryLimits: _BRAKES,
        p.Pause: _BRAKES,
        p.ReduceOnly: _BRAKES,
        p.CancelOrders: _BRAKES,
        p.EmergencyStop: _BRAKES,
        p.Kill: _BRAKES,
        p.UpdateRiskLimits: _BRAKES,
        p.Resume: _ADMIN,
        p.UpdateParams: _ADMIN,
        p.Rearm: _ADMIN,
    },
}
"""The roles that may send a message, by socket. What stops trading needs less than what lets it go on."""

MAY_BE: dict[p.Role, frozenset[p.Role]] = {
    "observer": frozenset({"observer"}),
    "trader": frozenset({"observer", "trader"}),
    "risk": frozenset({"observer", "risk"}),
    "admin": _EVERYBODY,
}
"""The roles that hello may ask for with a key of a role."""

SEES: dict[p.Role, tuple[str, ...]] = {
    "observer": ("md.", "tm."),
    "trader": ("md.", p.STATUS_TOPIC),
    "risk": ("md.", "tm."),
    "admin": ("md.", "tm."),
}
"""Beginnings of the topics that a key of a role may read: a trader does not see what others do."""


@dataclass(frozen=True)
class Grant:
    """What the connection that a message came over stands for.

    Attributes:
        key: The client's public key; empty where the bridge has no keys, which is its user's own process.
        name: The key's name.
        role: The most that its sessions may be.
        strategies: The strategies that it may trade as; empty for any.
    """

    key: str = ""
    name: str = ""
    role: p.Role = "admin"
    strategies: tuple[str, ...] = ()

    def sees(self, topic: str) -> bool:
        """Whether it may read a topic, or all topics that begin so."""
        return not self.key or topic.startswith(SEES[self.role])

    def refuses(self, hello: p.Hello) -> str:
        """Why a hello asks for more than this grant gives; empty if it does not."""
        if hello.role not in MAY_BE[self.role]:
            return f"key {self.name!r} is a {self.role}'s, not for role {hello.role}"
        if hello.strategy_id and self.strategies and hello.strategy_id not in self.strategies:
            return f"key {self.name!r} may not trade as {hello.strategy_id!r}"
        return ""


OWN_PROCESS = Grant()
"""A process of the daemon's own user, over a socket that nobody else can reach."""


def may(role: p.Role, channel: str, kind: type[p.Message]) -> bool:
    """Whether a session of a role may send a message on a socket."""
    return role in MAY[channel].get(kind, ())
