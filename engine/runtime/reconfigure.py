"""The command ``reconfigure``: what an edited configuration file changes in a running engine, all or nothing.

Its fields are those parts of the file that may change while the engine runs, and of them only what the edit
changed, so that what an operator has set by hand meanwhile stays:

====================  ===================================================================================
``params``            by strategy: new values by name; null is the default of the strategy's class
``limits``            by strategy: new limits by name in all its symbols; null lifts one
``risk``              limits over all strategies: by symbol, over everything by "": new ones by name in each;
                      null lifts one
``external_limits``   all limits of external traders: of those that come, and of those that are here
``external_enabled``  whether more of them may come
``log_level``         of the engine's log
====================  ===================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

import msgspec

from engine.core.errors import ConfigError
from engine.kernel import ControlResult, Kernel
from engine.risk.limits import RiskLimits, check_scope
from engine.runtime.lifting import lifted
from engine.strategy import params as parameters

LogLevel = Literal["debug", "info", "warning", "error"]
ENDED = ("Stopping", "Stopped", "Error")


class Reconfigure(msgspec.Struct, kw_only=True):
    """The command's fields."""

    params: dict[str, dict[str, Any]] = {}
    limits: dict[str, dict[str, Any]] = {}
    risk: dict[str, dict[str, Any]] = {}
    external_limits: RiskLimits | None = None
    external_enabled: bool | None = None
    log_level: LogLevel | Literal[""] = ""

    @classmethod
    def of(cls, message: dict[str, Any]) -> Reconfigure:
        """The fields of a command.

        Raises:
            ConfigError: One has a wrong type.
        """
        try:
            return msgspec.convert(message, cls)
        except msgspec.ValidationError as error:
            raise ConfigError(str(error)) from None

    def check(self, kernel: Kernel, external: RiskLimits | None) -> None:
        """Checks everything before anything changes, and puts defaults and lifted limits in their places.

        Args:
            kernel: What is to be changed.
            external: The limits that external traders get now.

        Raises:
            ConfigError: A strategy is unknown or has ended, or a value would be refused.
        """
        for name, values in self.params.items():
            info = kernel.strategy(name)
            if info.state in ENDED:
                raise ConfigError(f"{name} is {info.state}: its parameters change with a restart")
            for key, value in values.items():
                if value is None and key in info.specs:
                    values[key] = info.specs[key].default
            parameters.check(info.specs, values, name)
        for name, limits in self.limits.items():
            kernel.strategy(name)
            self.limits[name] = _lifted(limits, name)
        for symbol, limits in self.risk.items():
            if symbol and symbol not in kernel.symbols:
                raise ConfigError(f"risk: there is no instrument {symbol!r}")
            self.risk[symbol] = made = _lifted(limits, f"risk of {symbol or 'everything'}")
            check_scope(kernel.limits_of("", symbol).merged(RiskLimits(**made)), everything=not symbol)
        if self.external_limits is not None and external is not None:
            present = msgspec.structs.asdict(self.external_limits)
            changed = {field: value for field, value in present.items() if value != getattr(external, field)}
            for name in kernel.strategy_names:
                if kernel.strategy(name).kind == "external" and changed:
                    self.limits[name] = _lifted(changed, name)

    def apply(self, kernel: Kernel) -> ControlResult:
        """Changes everything; what was changed is taken back when the kernel refuses a part after all.

        Args:
            kernel: As for :meth:`check`.

        Returns:
            The answer; a refusal says why.
        """
        undo: list[Callable[[], Any]] = []
        for do, back in self._steps(kernel):
            result = do()
            if not result.success:
                for step in reversed(undo):
                    step()
                return kernel.query_status()._replace(success=False, message=result.message)
            undo.append(back)
        return kernel.query_status()._replace(message="the edited configuration is in force")

    def _steps(self, kernel: Kernel) -> Iterator[tuple[Callable[[], ControlResult], Callable[[], Any]]]:
        """Each change, and what takes it back."""
        for symbol, limits in self.risk.items():
            present = kernel.limits_of("", symbol)
            old = lifted({field: getattr(present, field) for field in limits})
            yield (
                partial(kernel.update_limits, "", symbol, **limits),
                partial(kernel.update_limits, "", symbol, **old),
            )
        for name, limits in self.limits.items():
            before = kernel.strategy(name).limits
            yield (
                partial(kernel.update_limits, name, **limits),
                partial(_restore, kernel, name, limits, before),
            )
        for name, values in self.params.items():
            present = kernel.params(name)
            old = {key: present[key] for key in values}
            yield partial(kernel.update_params, name, values), partial(kernel.update_params, name, old)


def _restore(kernel: Kernel, name: str, fields: Iterable[str], before: dict[str, RiskLimits]) -> None:
    """Gives a strategy some of its limits back: at once where all symbols had the same, else one by one."""
    for field in fields:
        old = {symbol: lifted({field: getattr(limits, field)}) for symbol, limits in before.items()}
        first = next(iter(old.values()))
        if all(value == first for value in old.values()):
            kernel.update_limits(name, **first)
            continue
        for symbol, value in old.items():
            kernel.update_limits(name, symbol, **value)


def _lifted(limits: dict[str, Any], name: str) -> dict[str, Any]:
    """Limits as the kernel takes them; whose they are is in the message of an error."""
    try:
        return lifted(limits)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
