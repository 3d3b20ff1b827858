"""The file that a session leaves behind: what ``ringbook compare`` holds against a backtest."""

from __future__ import annotations

from pathlib import Path

from engine.backtest.recorder import Recorder
from engine.backtest.result import states_of
from engine.core.errors import ConfigError
from engine.core.settings import config_hash
from engine.kernel import Kernel
from engine.reports.session import collect
from engine.runtime.config import DaemonConfig


class Keeper:
    """Keeps fills and order updates of a session and writes them at its end.

    In memory and, beyond some megabytes, in a temporary file that the engine's thread writes: for paper
    sessions. A copy of 150 bytes an order update is all it costs otherwise.

    Args:
        config: The daemon's; ``engine.result`` names the file.

    Attributes:
        recorder: Where the engine loop puts its outputs.
        first_ts: Engine time of the start; None as long as there was no market.

    Raises:
        ConfigError: The file's folder does not exist.
    """

    def __init__(self, config: DaemonConfig) -> None:
        self._config = config
        self._path = Path(config.engine.result).expanduser()
        if not self._path.absolute().parent.is_dir():
            raise ConfigError(f"engine.result: no folder {self._path.absolute().parent}")
        self.recorder = Recorder()
        self.first_ts: int | None = None

    @classmethod
    def of_config(cls, config: DaemonConfig) -> Keeper | None:
        """The keeper that a configuration asks for, if any."""
        return cls(config) if config.engine.result else None

    def save(self, kernel: Kernel, last_ts: int) -> bool:
        """Writes the file; a session that never saw a market leaves none.

        Args:
            kernel: Stopped, all its outputs recorded.
            last_ts: Engine time of the end.

        Returns:
            Whether there is a file.

        Raises:
            ConfigError: It cannot be written.
        """
        if self.first_ts is None:
            return False
        config = self._config
        session = collect(
            "market" if config.feed.kind == "market" else config.engine.mode.lower(),
            fills=self.recorder.fill_array(),
            orders=self.recorder.order_array(),
            strategies=kernel.strategy_names,
            assets=config.instruments,
            mids=[kernel.book(symbol).mid for symbol in kernel.symbols],
            states=states_of(kernel),
            first_ts=self.first_ts,
            last_ts=last_ts,
            config_hash=config_hash(config),
            seed=config.feed.seed,
            ticks=self.recorder.tick_array(),
        )
        try:
            session.save(self._path)
        except OSError as error:
            raise ConfigError(f"engine.result {self._path}: {error.strerror or error}") from None
        return True
