"""The command ``reconfigure``: what an edited configuration file changes in a running engine, all or nothing.

Its fields are those parts of the file that may change while the engine runs, and of them only what the edit
changed, so that what an operator has set by hand meanwhile stays:

====================  ===================================================================================
``params``            by strategy: new values by name; null is the default of the strategy's class
``limits``            by strategy: new limits by name in all its symbols; null lifts one
``external_limits``   all limits of external traders: of those that come, and of those that are here
``external_enabled``  whether more of them may come
``log_level``         of the engine's log
====================  ===================================================================================
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from engine.core.errors import ConfigError
from engine.kernel import ControlResult, Kernel
from engine.risk.limits import RiskLimits
from engine.runtime.lifting import lifted
from engine.strategy import params as parameters

LogLevel = Literal["debug", "info", "warning", "error"]
ENDED = ("Stopping", "Stopped", "Error")


class Reconfigure(msgspec.Struct, kw_only=True):
    """The command's fields."""

    params: dict[str, dict[str, Any]] = {}
    limits: dict[str, dict[str, Any]] = {}
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
        if self.external_limits is not None and external is not None:
            present = msgspec.structs.asdict(self.external_limits)
            changed = {field: value for field, value in present.items() if value != getattr(external, field)}
            for name in kernel.strategy_names:
                if kernel.strategy(name).kind == "external" and changed:
                    self.limits[name] = _lifted(changed, name)

    def apply(self, kernel: Kernel) -> ControlResult:
        """Changes everything; what was checked can fail in a strategy's own ``on_params`` only.

        Args:
            kernel: As for :meth:`check`.

        Returns:
            The answer, which names every refusal.
        """
        results = [kernel.update_params(name, values) for name, values in self.params.items()]
        results += [kernel.update_limits(name, **limits) for name, limits in self.limits.items()]
        refused = [result.message for result in results if not result.success]
        message = "; ".join(refused) if refused else "the edited configuration is in force"
        return kernel.query_status()._replace(success=not refused, message=message)


def _lifted(limits: dict[str, Any], name: str) -> dict[str, Any]:
    """Limits as the kernel takes them; whose they are is in the message of an error."""
    try:
        return lifted(limits)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
