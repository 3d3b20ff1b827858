"""The one injected clock."""

cimport cython


@cython.final
cdef class Clock:
    """Tells the time in int64 nanoseconds; made by :meth:`wall`, :meth:`monotonic` or :meth:`simulated`."""

    @staticmethod
    def wall() -> Clock:
        """Nanoseconds since the epoch, from the system; may step."""
        cdef Clock clock = Clock.__new__(Clock)
        clock.state.kind = CLOCK_WALL
        return clock

    @staticmethod
    def monotonic() -> Clock:
        """Nanoseconds since some start, from the system; never steps back."""
        cdef Clock clock = Clock.__new__(Clock)
        clock.state.kind = CLOCK_STEADY
        return clock

    @staticmethod
    def simulated(int64_t now=0) -> Clock:
        """A clock that stands still until somebody moves it.

        Args:
            now: Where it starts, in nanoseconds.
        """
        cdef Clock clock = Clock.__new__(Clock)
        clock.state.kind = CLOCK_SIMULATED
        clock.state.now = now
        return clock

    @property
    def is_simulated(self) -> bool:
        """Whether :meth:`set` and :meth:`advance` work."""
        return self.state.kind == CLOCK_SIMULATED

    def now(self) -> int:
        """The time in nanoseconds."""
        return clock_now(&self.state)

    def set(self, int64_t now) -> None:
        """Moves a simulated clock forward.

        Args:
            now: The new time in nanoseconds.

        Raises:
            ValueError: The clock is not simulated, or the time lies before its present one.
        """
        if self.state.kind != CLOCK_SIMULATED:
            raise ValueError("only a simulated clock can be set")
        if now < self.state.now:
            raise ValueError(f"time does not go back: {now} < {self.state.now}")
        self.state.now = now

    def advance(self, int64_t ns) -> int:
        """Moves a simulated clock forward.

        Args:
            ns: By how many nanoseconds, not negative.

        Returns:
            The new time.

        Raises:
            ValueError: The clock is not simulated, or ``ns`` is negative.
        """
        self.set(self.state.now + ns)
        return self.state.now
