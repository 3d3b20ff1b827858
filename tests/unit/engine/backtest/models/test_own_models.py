"""Models in Python, Numba and Cython: the built-in ones over again, parameters, and what can go wrong."""

from __future__ import annotations

import traceback

import numpy as np
import pytest

from benchmarks.bench_strategy import build
from engine.backtest import hbt
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig, check
from engine.backtest.models import Array, FeeModel, LatencyModel, QueueModel, compiled
from engine.backtest.recorder import Recorder
from engine.backtest.runner import BacktestRunner
from engine.core.errors import ConfigError, ModelError
from engine.feeds.merge import Merger
from engine.feeds.replay import NpzSource
from engine.gateways.paper import Paper, PaperDriver
from engine.kernel import Kernel
from engine.strategy.native import MarketMaker
from tests.kit import own_models as own
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market
from tests.kit.programs import COLUMNS, random_program, run_program

QUEUES = [
    ("risk_adverse_queue_model", 3.0),
    ("power_prob_queue_model", 2.0),
    ("power_prob_queue_model2", 2.5),
    ("power_prob_queue_model3", 3.0),
    ("log_prob_queue_model", 3.0),
    ("log_prob_queue_model2", 3.0),
]
FEES = ["trading_value_fee_model", "trading_qty_fee_model", "flat_per_trade_fee_model"]
LATENCY = {"new_ns": 3_000, "modify_ns": 2_000, "cancel_ns": 1_000, "response_ns": 4_000}
RATES = {"maker": -0.0001, "taker": 0.0005, "buyer": 0.001, "seller": 0.0}


@pytest.fixture(scope="session")
def native():
    """The models in Cython."""
    build("own_models")
    import own_models

    return own_models


def homes(request, language):
    """Latency, queue and fee model in a language."""
    if language == "cython":
        found = request.getfixturevalue("native")
        return found.Latency, found.Queue, found.Fee
    if language == "numba":
        return own.FastLatency, own.FastQueue, own.FastFee
    return own.Latency, own.Queue, own.Fee


def described(rows, exchange="no_partial_fill_exchange"):
    asset = hbt.BacktestAsset().data(rows).tick_size(TICK_SIZE).lot_size(LOT_SIZE)
    return getattr(asset, exchange)()


def built_in(asset, queue, fee):
    name, n = QUEUES[queue]
    getattr(asset, name)(*([n] if name.startswith("power") else []))
    getattr(asset, FEES[fee])(RATES["maker"], RATES["taker"])
    asset.directional_fees(RATES["buyer"], RATES["seller"])
    return asset.order_latencies(*LATENCY.values())


def ours(asset, models, queue, fee):
    latency_model, queue_model, fee_model = models
    asset.latency_model(latency_model, **LATENCY).queue_model(queue_model, kind=queue, n=QUEUES[queue][1])
    return asset.fee_model(fee_model, kind=fee, **RATES)


def shown(asset, program):
    """Everything that a random program sees, and the logs."""
    backtest = hbt.HashMapMarketDepthBacktest([asset])
    out = np.zeros((len(program), len(COLUMNS)))
    n = run_program(backtest, 0, program, out)
    backtest.check_invariants()
    return out[:n].tobytes(), backtest.fills(0).tolist(), backtest.order_log(0).tobytes()


@pytest.mark.parametrize("language", ["python", "numba", "cython"])
@pytest.mark.parametrize("queue", range(len(QUEUES)))
def test_the_built_in_models_over_again_change_no_byte(request, language, queue):
    models = homes(request, language)
    fills = 0
    for seed in range(4):
        rows = random_market(seed, 1500)
        program = random_program(seed, 300, step_ns=1_000)
        exchange = ("no_partial_fill_exchange", "partial_fill_exchange")[seed % 2]
        expected = shown(built_in(described(rows, exchange), queue, seed % 3), program)
        assert shown(ours(described(rows, exchange), models, queue, seed % 3), program) == expected
        fills += len(expected[1])
    assert fills > 20


def run(maker=None, **models):
    asset = AssetConfig(symbol="A", tick_size=TICK_SIZE, lot_size=LOT_SIZE, **models)
    params = {"interval_ns": 5_000, "half_spread": 0.5, "order_qty": 0.02, "max_position": 0.1}
    strategy = StrategyConfig(id="mm", cls=maker or "engine.strategy.native:MarketMaker", params=params)
    return BacktestRunner().run(
        BacktestConfig(assets=[asset], strategies=[strategy]), {"A": random_market(3, 1200)}
    )


@pytest.mark.parametrize("prefix", ["tests.kit.own_models:", "tests.kit.own_models:Fast", "own_models:"])
def test_by_name_and_with_parameters_in_a_configuration(native, prefix):
    latency = LATENCY | {"modify_ns": 3_000, "cancel_ns": 3_000}
    expected = run(
        entry_latency_ns=3_000,
        response_latency_ns=4_000,
        queue_model="power_prob_queue_model2",
        queue_n=2.5,
        maker_fee=RATES["maker"],
        taker_fee=RATES["taker"],
        buyer_fee=RATES["buyer"],
    )
    result = run(
        entry_latency_ns=3_000,
        response_latency_ns=4_000,
        latency_model=f"{prefix}Latency",
        latency_params=latency,
        queue_model=f"{prefix}Queue",
        queue_params={"kind": 2, "n": 2.5},
        fee_model=f"{prefix}Fee",
        fee_params={"kind": 0, **RATES},
    )
    assert len(result.fills) > 3
    assert result.fills.tobytes() == expected.fills.tobytes()
    assert result.orders.tobytes() == expected.orders.tobytes()


def quote(asset, wait=False):
    """Rests orders until the end of the data."""
    backtest = hbt.HashMapMarketDepthBacktest([asset])
    for number in range(1, 1000):
        if backtest.elapse(10_000):
            break
        depth = backtest.depth(0)
        if depth.best_bid_tick > 0:
            backtest.submit_buy_order(0, number, depth.best_bid, LOT_SIZE, hbt.GTC, hbt.LIMIT, wait)
    return backtest


FAULTS = [
    ("latency", own.Bad, 1, LookupError, "no such latency"),
    ("latency", own.Bad, 2, ModelError, r"Bad\.entry returned 4611686018427387904 ns, which is more"),
    ("latency", own.Bad, 3, ModelError, r"Bad\.response returned -5 ns: an answer takes from 0"),
    ("queue", own.BadQueue, 1, ModelError, r"BadQueue\.rest left nan as the place in the queue"),
    ("queue", own.BadQueue, 2, ModelError, r"BadQueue\.depth left nan as the place in the queue"),
    ("queue", own.BadQueue, 3, ValueError, "who is filled"),
    ("queue", own.BadQueue, 4, ModelError, r"BadQueue\.filled returned nan, which is no quantity"),
    ("fee", own.BadFee, None, ModelError, r"BadFee\.fee returned inf, which is no fee"),
]


@pytest.mark.parametrize("fast", [False, True], ids=["python", "numba"])
@pytest.mark.parametrize(("role", "model", "fault", "error", "text"), FAULTS)
def test_what_goes_wrong_ends_a_polled_run_as_what_it_is(role, model, fault, error, text, fast):
    model = compiled(model) if fast else model
    params = {} if fault is None else {"fault": fault}
    asset = described(random_market(5, 1500))
    getattr(asset, f"{role}_model")(model, **params)
    with pytest.raises(error, match=text) as caught:
        quote(asset)
    if error is not ModelError and not fast:
        assert "own_models.py" in "".join(traceback.format_tb(caught.tb))
    if error is not ModelError and fast:
        assert "compiled" in caught.value.__notes__[0]


@pytest.mark.parametrize("fast", [False, True], ids=["python", "numba"])
@pytest.mark.parametrize(("role", "model", "fault", "error", "text"), FAULTS)
def test_what_goes_wrong_ends_a_run_with_strategies_as_what_it_is(role, model, fault, error, text, fast):
    params = {} if fault is None else {"fault": fault}
    name = f"tests.kit.own_models:{'Fast' if fast else ''}{model.__name__}"
    with pytest.raises(error, match=text):
        run(**{f"{role}_model": name, f"{role}_params": params})


def test_a_polled_run_that_failed_stays_failed():
    asset = described(random_market(5, 1500)).latency_model(own.Bad, fault=1)
    backtest = hbt.HashMapMarketDepthBacktest([asset])
    backtest.elapse(50_000)
    for kind, text in ((LookupError, "no such latency"), (ModelError, "asset 0: a model has failed")):
        with pytest.raises(kind, match=text):
            backtest.submit_buy_order(0, 1, 500.0, LOT_SIZE, hbt.GTC, hbt.LIMIT, False)
    with pytest.raises(ModelError, match="a model has failed"):
        backtest.elapse(1)


def test_a_model_in_cython_raises_and_a_result_of_minus_one_is_none(native):
    with pytest.raises(LookupError, match="the third change"):
        quote(described(random_market(5, 1500)).queue_model(native.Raiser))
    backtest = quote(described(random_market(5, 1500)).latency_model(native.Late))
    log = backtest.order_log(0)
    assert log["answer"].any()
    assert (log["req"][log["answer"]] == hbt.REJECTED).all()


@pytest.mark.parametrize("value", [float("nan"), 1.5, None, "1000"])
def test_a_latency_is_a_whole_number(value):
    class Odd(LatencyModel):
        def entry(self, now, order):
            return value

    with pytest.raises(ModelError, match=r"Odd\.entry returned .+: a latency is a whole number"):
        quote(described(random_market(5, 600)).latency_model(Odd))


def test_a_fee_is_a_number():
    class Odd(FeeModel):
        def fee(self, order, value):
            return None

    with pytest.raises(ModelError, match=r"Odd\.fee returned None: it has to be a number"):
        quote(described(random_market(5, 1500)).fee_model(Odd))


def test_a_missing_method_says_so():
    class Half(LatencyModel):
        def entry(self, now, order):
            return 5

    with pytest.raises(ModelError, match="Half has no response"):
        quote(described(random_market(5, 600)).latency_model(Half))


def test_an_interrupt_in_a_model_is_an_interrupt():
    class Stop(LatencyModel):
        def entry(self, now, order):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quote(described(random_market(5, 600)).latency_model(Stop))


def test_a_kept_order_does_no_harm_and_every_run_has_its_own_model():
    kept, made = [], []

    class Keeper(QueueModel):
        def start(self):
            made.append(self)
            assert (self.tick_size, self.lot_size, self.contract_size) == (TICK_SIZE, LOT_SIZE, 1.0)

        def depth(self, order, prev_qty, new_qty):
            kept.append(order)

    asset = described(random_market(5, 1500)).queue_model(Keeper)
    first, second = quote(asset), quote(asset)
    assert len(set(map(id, made))) == 2
    assert first.fills(0).tolist() == second.fills(0).tolist()
    del first, second
    assert {order.side for order in kept} == {hbt.BUY}
    assert all(order.price == order.price_tick * TICK_SIZE and order.queue_ahead >= 0 for order in kept)


def test_what_a_compiled_model_keeps_is_its_own():
    @compiled
    class Window(LatencyModel):
        weight: float = 0.5
        _last: int = 0
        _seen = Array(4, int)

        SIZE = 4

        def start(self):
            self._seen[:] = 1_000

        def mean(self):
            total = 0
            for value in self._seen:
                total += value
            return total // self.SIZE

        def entry(self, now, order):
            self._seen[self._last % self.SIZE] = 1_000 + int(order.price * self.weight)
            self._last += 1
            return self.mean()

        def response(self, now, order):
            return 1_000 if order.cancellable else 2_000

    asset = described(random_market(5, 1500))
    fast = quote(asset.latency_model(Window))
    again = quote(asset)
    plain = quote(asset.latency_model(Window.plain))
    assert len(fast.order_log(0)) > 20
    assert fast.order_log(0).tobytes() == again.order_log(0).tobytes() == plain.order_log(0).tobytes()


def entry(text):
    scope = {"LatencyModel": LatencyModel}
    body = f"class Wrong(LatencyModel):\n    _n: int = 0\n    def entry(self, now, order):\n        {text}\n"
    exec(body + "    def response(self, now, order):\n        return 5\n", scope)
    return compiled(scope["Wrong"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("return 0.5", r"Wrong\.entry returns float64, not a whole number"),
        ("return self.unknown", r"Wrong\.entry cannot be compiled: self\.unknown is unknown"),
        ("return order.colour", r"Wrong\.entry cannot be compiled: Order has no 'colour'"),
        ("self._n = 0.5; return 5", r"gives float64 to self\._n, which is declared as int64"),
        ("order.qty = 5.0; return 5", r"Wrong\.entry sets order\.qty, which is to be read"),
        ("order.queue_ahead = 5.0; return 5", r"sets order\.queue_ahead, which is to be read"),
        ("return open('x')", r"Wrong\.entry cannot be compiled"),
    ],
)
def test_what_cannot_be_compiled_is_said_in_one_line(text, message):
    asset = described(random_market(5, 50)).latency_model(entry(text))
    with pytest.raises(ModelError, match=message) as caught:
        hbt.HashMapMarketDepthBacktest([asset])
    assert "\n" not in str(caught.value)


def test_descriptions_that_cannot_be():
    asset = hbt.BacktestAsset()
    with pytest.raises(ConfigError, match="queue_model: takes a class or the name of one"):
        asset.queue_model(own.Queue(kind=1))
    with pytest.raises(ConfigError, match="fee_model: takes a class"):
        asset.fee_model("flat_per_trade_fee_model")
    rows = random_market(5, 50)
    for model, params, text in (
        (own.Fee, {}, "asset 0: queue_model: .*Fee.* makes no QueueModel and no NativeQueueModel"),
        (own.Queue, {"m": 3}, "asset 0: queue_model: .*unknown parameter m; it has kind, n"),
        ("tests.kit.own_models:Fee", {}, "Fee is no queue model; queue models there: .*Queue, FastQueue"),
        ("tests.kit.own_models:None", {}, "has no None"),
    ):
        with pytest.raises(ConfigError, match=text):
            hbt.HashMapMarketDepthBacktest([described(rows).queue_model(model, **params)])
    for model in (int, QueueModel.depth):
        with pytest.raises(ModelError, match="@compiled is for subclasses"):
            compiled(model)


@pytest.mark.parametrize(
    ("models", "text"),
    [
        ({"queue_model": "fifo"}, r"\$\.assets\[0\]\.queue_model: 'fifo' is none of risk_adverse_"),
        ({"latency_model": "none"}, r"\$\.assets\[0\]\.latency_model: 'none' is none of"),
        ({"fee_params": {"a": 1}}, r"\$\.assets\[0\]\.fee_params: trading_value_fee_model is built in"),
        ({"fee_model": "a:B", "maker_fee": 0.1}, r"\$\.assets\[0\]\.maker_fee: says nothing to a:B"),
    ],
)
def test_configurations_that_cannot_be(models, text):
    asset = AssetConfig(symbol="A", tick_size=TICK_SIZE, lot_size=LOT_SIZE, **models)
    strategy = StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker")
    with pytest.raises(ConfigError, match=text):
        check(BacktestConfig(assets=[asset], strategies=[strategy]))


def pushed(**models):
    """Fills on the paper venue."""
    latency = {"entry_latency_ns": 1_000, "response_latency_ns": 1_000}
    asset = AssetConfig(symbol="A", tick_size=TICK_SIZE, lot_size=LOT_SIZE, **latency, **models)
    kernel, recorder = Kernel([asset]), Recorder()
    params = {"interval_ns": 5_000, "half_spread": 0.5, "order_qty": 0.02, "max_position": 0.1}
    kernel.add_strategy("mm", MarketMaker(**params))
    items = Merger([NpzSource("A", random_market(3, 1200))]).read(1 << 20)
    kernel.start(int(items["ts"][0]))
    driver = PaperDriver(kernel, Paper([asset]), recorder)
    driver.push(*(np.ascontiguousarray(items[name]) for name in ("event", "ts", "instrument", "flags")))
    return recorder.fill_array()


def test_the_paper_venue_takes_them_too():
    expected = pushed(queue_model="power_prob_queue_model", queue_n=2.0)
    fast = pushed(queue_model="tests.kit.own_models:FastQueue", queue_params={"kind": 1, "n": 2.0})
    assert len(expected) > 3
    assert fast.tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match="who is filled"):
        pushed(queue_model="tests.kit.own_models:BadQueue", queue_params={"fault": 3})
