"""A population made of a market law, with the matcher it trades on: tables drawn up, and Python's face."""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from engine.core.random cimport random_seed
from engine.core.types cimport ORDER_LIMIT, Event
from engine.matching.agents cimport (
    AGENTS_CHILDREN,
    AGENTS_EXTERNAL_IDS,
    AGENTS_OWNERS,
    AGENTS_TABLE,
    AGENTS_TAKES,
    OWNER_EXTERNAL,
    TRADER_INFORMED,
    TRADER_MAKER,
    TRADER_MOMENTUM,
    TRADER_REVERSION,
    AgentLaw,
    Agents,
    agents_absent,
    agents_events,
    agents_fill,
    agents_send,
    agents_start,
)
from engine.matching.book cimport OUTPUT_TRADES, MatcherConfig, matcher_free, matcher_init
from engine.matching.crowd cimport CROWD_REACH, CROWD_SLOT_BITS, crowd_check, crowd_free, crowd_init
from engine.matching.records cimport MATCH_ADD, MATCH_CANCEL
from engine.matching.state cimport matcher_check

import math

from engine.core.errors import ConfigError, InvariantError, raise_for_code
from engine.matching.laws import PROBABILITIES

EXTERNAL_OWNER = int(OWNER_EXTERNAL)
"""The first owner number that no agent has."""

FIRST_EXTERNAL_ID = int(AGENTS_EXTERNAL_IDS)
"""Order ids from here on are never an agent's."""

_EXTERNAL_ORDERS = 4096
_REGIME_SECONDS = (2.0, 16.0, 128.0, 1024.0)
_CALM_SECONDS = 2.0
_AGAIN_SECONDS = 0.06
_RATE_UNIT = float(1 << 20)


def equally_likely(quantiles, count):
    """Values of a distribution that are as likely as each other, whole and rising.

    Args:
        quantiles: Of the distribution, at ``laws.PROBABILITIES``.
        count: How many.
    """
    values = []
    at = 0
    for i in range(count):
        p = (i + 0.5) / count
        while PROBABILITIES[at + 1] < p:
            at += 1
        low, high = PROBABILITIES[at], PROBABILITIES[at + 1]
        share = (p - low) / (high - low)
        values.append(int(quantiles[at] + share * (quantiles[at + 1] - quantiles[at]) + 0.5))
    return values


def shares_of(rates, count):
    """How many of ``count`` places each rate gets, by largest remainder.

    Args:
        rates: Not negative, not all 0.
        count: Places.
    """
    total = math.fsum(rates)
    exact = [rate / total * count for rate in rates]
    places = [int(x) for x in exact]
    order = sorted(range(len(exact)), key=lambda i: (places[i] - exact[i], i))
    for i in order[: count - sum(places)]:
        places[i] += 1
    return places


def more_than(mean, count):
    """The probabilities of a Poisson variable to be more than 0, 1 and so on, in units of 2**-32.

    Args:
        mean: Of the variable, 0 to 1.
        count: How many probabilities.
    """
    # By its series, because the last bit of a library's exp is not the same everywhere.
    term = total = 1.0
    for k in range(1, 30):
        term *= mean / k
        total += term
    probability = 1.0 / total
    found = []
    at_most = 0.0
    for k in range(count):
        at_most += probability
        probability *= mean / (k + 1)
        found.append(max(0, min(int((1.0 - at_most) * 4294967296.0), 4294967295)))
    return found


def _moves(fair):
    """Equally likely moves of the fair value that together have its volatility."""
    raw = equally_likely([16.0 * ticks for ticks in fair.moves], AGENTS_TABLE)
    mean = math.fsum(raw) / len(raw)
    square = math.fsum(ticks * ticks for ticks in raw) / len(raw)
    # Moves that bring about others the same way add up: a geometric series of their covariances.
    ratio = fair.again * (2.0 * fair.along - 1.0)
    variance = square + 2.0 * mean * mean * ratio / (1.0 - ratio)
    scale = fair.volatility / math.sqrt(fair.jumps * variance)
    return [max(1, int(scale * ticks + 0.5)) for ticks in raw]


def _decimal(size):
    """How many sizes make 1, if that is whole: then prices are exact quotients; else 0."""
    whole = round(1.0 / size)
    return float(whole) if whole >= 1 and size == 1.0 / whole else 0.0


# The market's owner in C: freed with it.
@cython.final
cdef class Population:
    """The agents of a market and the matcher they trade on: the same arguments give the same commands anywhere.

    Args:
        law: A :class:`engine.matching.laws.Law`.
        seed: 0 to below 2**64.
        start_ts: When the market opens, nanoseconds since the epoch.
        speed: How many times as fast everything happens.
        tick_size: The price of one tick.
        lot_size: The quantity of one lot.
        start_tick: Where.
        agents: False for a market on which only others trade; of the law it has the latencies of market data.

    Raises:
        ConfigError: The law makes a crowd of more than a million orders, or more traders than there is room for.
    """

    def __cinit__(
        self,
        law,
        *,
        uint64_t seed,
        int64_t start_ts,
        double speed,
        tick_size,
        lot_size,
        int64_t start_tick,
        bint agents=True,
    ):
        cdef MatcherConfig config
        resting = [placed / left for placed, left in zip(law.crowd.placed, law.crowd.cancelled)]
        expected = math.fsum(resting)
        capacity = 4096
        while capacity < 4 * expected:
            capacity *= 2
        if capacity > 1 << CROWD_SLOT_BITS:
            raise ConfigError(
                f"law {law.name}: crowd.placed and crowd.cancelled make {expected:.0f} resting orders, "
                f"more than {1 << (CROWD_SLOT_BITS - 2)}"
            )
        self.agents = <Agents*>calloc(1, sizeof(Agents))
        if self.agents == NULL:
            raise MemoryError
        raise_for_code(crowd_init(&self.agents.crowd, capacity, len(resting)))
        memset(&config, 0, sizeof(config))
        config.max_orders = capacity + _EXTERNAL_ORDERS
        config.max_owners = 1024
        config.buffer = 4096
        config.output = OUTPUT_TRADES
        config.levels = True
        config.flush = agents_events
        config.context = self.agents
        raise_for_code(matcher_init(&self.venue, &config))
        self.agents.venue = &self.venue
        random_seed(self.agents.rng, seed)
        self._fill_crowd(law, resting)
        self._fill_rest(law, speed)
        self._fill_traders(law.agents, speed)
        self.agents.law.tick_size = tick_size
        self.agents.law.lot_size = lot_size
        self.agents.law.ticks_per_unit = _decimal(tick_size)
        self.agents.law.lots_per_unit = _decimal(lot_size)
        if agents:
            agents_start(self.agents, start_tick, start_ts)
        else:
            agents_absent(self.agents, start_ts)

    def __dealloc__(self):
        if self.agents != NULL:
            crowd_free(&self.agents.crowd)
            free(self.agents)
        matcher_free(&self.venue)

    def __reduce__(self):
        raise TypeError("a Population cannot be copied or pickled")

    cdef _fill_crowd(self, law, resting):
        cdef AgentLaw* into = &self.agents.law
        crowd = law.crowd
        at = 0
        for zone, places in enumerate(shares_of(crowd.placed, AGENTS_TAKES)):
            self.agents.open_orders[zone] = resting[zone]
            self.agents.crowd.rate[zone] = max(1, round(crowd.cancelled[zone] * _RATE_UNIT))
            into.edges[zone] = int(crowd.edges[zone])
            for at in range(at, at + places):
                into.bins[at] = zone
            at += places > 0
        into.edges[len(resting)] = int(crowd.edges[len(resting)])
        into.near_bins = sum(edge < crowd.far_from for edge in crowd.edges[: len(resting)])
        zone = 0
        for distance in range(CROWD_REACH):
            while zone + 1 < len(resting) and distance >= crowd.edges[zone + 1]:
                zone += 1
            self.agents.crowd.zone_at[distance] = zone
        into.arriving = max(1, round(math.fsum(crowd.placed) * _RATE_UNIT))
        means = []
        for group, sizes in enumerate((crowd.touch, crowd.near, crowd.far)):
            likely = equally_likely(sizes, AGENTS_TABLE)
            means.append(math.fsum(likely) / AGENTS_TABLE)
            for at, lots in enumerate(likely):
                into.lots[group][at] = lots
        for zone in range(len(resting)):
            group = 0 if zone == 0 else 1 if zone < into.near_bins else 2
            into.scale[zone] = int(min(4096.0 * crowd.mean_lots[zone] / means[group], 4e9))

    cdef _fill_rest(self, law, double speed):
        cdef AgentLaw* into = &self.agents.law
        takers, fair = law.takers, law.fair
        second = 1e9 / speed
        into.gap_unit = second * _RATE_UNIT
        # The informed were market orders of the recording too, a move of the fair value each.
        base = max(2.0 * takers.base - fair.jumps, 0.4 * takers.base)
        into.cluster_gap = second / base if base > 0 else 0.0
        into.kernels = len(takers.decay)
        for k, decay in enumerate(takers.decay):
            into.child_gap[k] = second / decay
            for other, mean in enumerate((takers.self_excite[k], takers.cross_excite[k])):
                for n, probability in enumerate(more_than(mean, AGENTS_CHILDREN)):
                    into.children[k][other][n] = probability
        for at, lots in enumerate(equally_likely(takers.lots, AGENTS_TAKES)):
            into.take_lots[at] = lots
        into.sweep = int(max(law.crowd.edges)) // 4 + 1
        into.fair_gap = second / (fair.jumps * (1.0 - fair.again)) if fair.volatility > 0 else 0.0
        into.again_gap = _AGAIN_SECONDS * second
        into.again = round(1024 * fair.again)
        into.along = round(1024 * fair.along)
        for at, ticks in enumerate(_moves(fair)):
            into.moves[at] = ticks
        into.news_gap = 3600.0 * second / fair.news if fair.news > 0 else 0.0
        into.news_ticks = fair.news_ticks
        into.calm_gap = _CALM_SECONDS * second
        into.follow = round(1024 * fair.follow)
        for i, seconds in enumerate(_REGIME_SECONDS):
            into.regime_gap[i] = seconds * second
        into.busy = 1.0 + fair.activity
        into.calm = 1.0 - fair.activity
        for at, latency in enumerate(equally_likely(law.feed.latency, AGENTS_TABLE)):
            into.latency[at] = latency

    cdef _fill_traders(self, agents, double speed):
        cdef uint32_t n = 0
        for kind, name, quotes in (
            (TRADER_MAKER, "maker", agents.maker_levels),
            (TRADER_INFORMED, "informed", 0),
            (TRADER_MOMENTUM, "momentum", 0),
            (TRADER_REVERSION, "reversion", 1),
        ):
            for _ in range(getattr(agents, "makers" if name == "maker" else name)):
                self.agents.traders[n].kind = kind
                self.agents.traders[n].lots = getattr(agents, f"{name}_lots")
                self.agents.traders[n].gap = 1e9 / speed / getattr(agents, f"{name}_looks")
                self.agents.traders[n].edge = int(getattr(agents, f"{name}_edge", 0))
                self.agents.traders[n].quotes = quotes
                n += 1
        self.agents.n_traders = n

    def fill(self, Event[::1] rows, int64_t end):
        """Lets the market go on and writes what everybody sees of it.

        Args:
            rows: ``event_dtype`` array to write to.
            end: No action at or after this time.

        Returns:
            How many rows were written; fewer than there is room for only when the end is reached.

        Raises:
            InvariantError: Rows or orders were lost.
        """
        cdef Py_ssize_t n = 0
        if rows.shape[0]:
            with nogil:
                n = agents_fill(self.agents, &rows[0], rows.shape[0], end)
        if self.agents.lost:
            raise InvariantError("a simulated market had no room for an order or a row")
        return n

    def order(self, int owner, int side, int64_t tick, int64_t lots, int time_in_force=0):
        """Sends a limit order of somebody who is no agent, at the market's present time.

        Args:
            owner: From ``EXTERNAL_OWNER`` on.
            side: 1 buys, -1 sells.
            tick: Its price.
            lots: Its quantity.
            time_in_force: 0 GTC, 1 GTX, 2 FOK, 3 IOC.

        Returns:
            Its id, the lots it executed and the lots it left open.

        Raises:
            ConfigError: The owner is an agent.
            RingbookError: The matcher refused it.
        """
        if owner < EXTERNAL_OWNER:
            raise ConfigError(f"owner {owner} is an agent of the market; others begin at {EXTERNAL_OWNER}")
        cdef Agents* a = self.agents
        a.command.kind = MATCH_ADD
        a.command.ts = a.now
        a.command.order_id = AGENTS_EXTERNAL_IDS + self.externals
        a.command.px = tick
        a.command.qty = lots
        a.command.owner = owner
        a.command.side = <signed char>side
        a.command.order_type = ORDER_LIMIT
        a.command.time_in_force = <unsigned char>time_in_force
        raise_for_code(agents_send(a))
        self.externals += 1
        return a.command.order_id, a.result.exec_qty, a.result.leaves_qty

    def cancel(self, int owner, uint64_t order_id):
        """Cancels an order of :meth:`order`.

        Args:
            owner: Whose it is.
            order_id: As :meth:`order` returned it.

        Raises:
            RingbookError: It is not live, or somebody else's.
        """
        cdef Agents* a = self.agents
        a.command.kind = MATCH_CANCEL
        a.command.ts = a.now
        a.command.order_id = order_id
        a.command.owner = owner
        raise_for_code(agents_send(a))

    def position(self, int owner):
        """Lots that an owner below 64 has bought less those sold."""
        if not 0 <= owner < AGENTS_OWNERS:
            raise ConfigError(f"positions are kept of owners 0 to {AGENTS_OWNERS - 1}, not of {owner}")
        return self.agents.position[owner]

    @property
    def now(self):
        """The time of the last action, nanoseconds since the epoch."""
        return self.agents.now

    @property
    def commands(self):
        """How many commands the matcher was sent."""
        return self.agents.commands

    @property
    def fair_tick(self):
        """The fair value that the informed know."""
        return self.agents.fair

    @property
    def resting(self):
        """How many orders of agents rest in the book."""
        return self.agents.crowd.capacity - self.agents.crowd.n_free

    def check_invariants(self):
        """Raises InvariantError if the book or the agents' orders contradict themselves."""
        raise_for_code(crowd_check(&self.agents.crowd))
        raise_for_code(matcher_check(&self.venue))
